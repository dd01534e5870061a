// One photo, large: hover, click, box, zoom.

import { mask } from "./api.js";
import { focusPhoto } from "./grid.js";
import { paint } from "./paint.js";
import { changed, labelOf, listen, say, sentence, state, toggle } from "./state.js";

const el = (id) => document.getElementById(id);
const stage = el("stage"), moved = el("moved"), picture = el("picture"), canvas = el("colours"), box = el("box");
let shown = null, ids = null, counts = null, view = { scale: 1, x: 0, y: 0 }, drag = null;

async function show() {
  const open = state.current !== null;
  el("large").hidden = !open;
  el("photos").hidden = open;
  if (!open) { shown = ids = null; return; }
  const index = state.order[state.current];
  if (shown === index) { if (ids) paint(canvas, ids); return; }
  shown = index;
  ids = null;
  const [name, width, height] = state.run.photos[index];
  el("name").textContent = `${name} (${state.current + 1} of ${state.order.length})`;
  el("previous").disabled = state.current === 0;
  el("next").disabled = state.current === state.order.length - 1;
  el("hover").textContent = "";
  Object.assign(moved.style, { width: `${width}px`, height: `${height}px` });
  fit();
  canvas.hidden = true;
  picture.src = `/photo/screen/${index}`;
  try {
    const found = await mask("screen", index);
    if (shown !== index) return;
    ids = found;
    counts = new Uint32Array(state.run.parts + 1);
    for (const part of ids.parts) counts[part]++;
    paint(canvas, ids);
    canvas.hidden = false;
    stage.dataset.shown = index;
  } catch (error) { say(sentence(error)); }
  for (const near of [state.current + 1, state.current - 1]) {
    const other = state.order[near];
    if (other === undefined) continue;
    new Image().src = `/photo/screen/${other}`;
    mask("screen", other).catch(() => {});
  }
}

export function step(by) {
  const next = state.current + by;
  if (next < 0 || next >= state.order.length) return;
  state.current = next;
  show(); // nothing else of the page changes
}

export function close() {
  const place = state.current;
  state.current = null;
  changed();
  focusPhoto(place);
}

export function fit() {
  const [, width, height] = state.run.photos[shown];
  const scale = Math.min(stage.clientWidth / width, stage.clientHeight / height);
  view = { scale, x: (stage.clientWidth - width * scale) / 2, y: (stage.clientHeight - height * scale) / 2 };
  move();
}

const move = () => { moved.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`; };

export function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const scale = Math.min(40, Math.max(0.02, view.scale * factor)), ratio = scale / view.scale;
  view = { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
  move();
}

// Pixel of the mask under a place of the stage; null outside.
function pixel(x, y) {
  if (!ids) return null;
  const [, width, height] = state.run.photos[shown];
  const column = Math.floor(((x - view.x) / view.scale / width) * ids.width);
  const row = Math.floor(((y - view.y) / view.scale / height) * ids.height);
  return column < 0 || row < 0 || column >= ids.width || row >= ids.height ? null : [row, column];
}

function hover(x, y) {
  const at = pixel(x, y), place = el("hover");
  if (!at) { place.textContent = ""; return; }
  const i = at[0] * ids.width + at[1], part = ids.parts[i], object = ids.objects[i];
  const share = `${((100 * counts[part]) / ids.parts.length).toFixed(1)} % of the photo`;
  const label = labelOf(object, part);
  const words = part ? [`part ${part}`, object ? `object ${object}` : "no object", label ? `label ${label.name}` : "no label"] : ["background"];
  place.textContent = [...words, share].join(" · ");
}

function partsIn(a, b) {
  const [top, bottom] = [a[1], b[1]].sort((x, y) => x - y), [left, right] = [a[0], b[0]].sort((x, y) => x - y);
  const found = new Set();
  for (let y = top; y <= bottom; y += 2) for (let x = left; x <= right; x += 2) {
    const at = pixel(x, y), part = at && ids.parts[at[0] * ids.width + at[1]];
    if (part) found.add(`p${part}`);
  }
  return [...found];
}

// Part under a place, within its object alone.
function partWithin([x, y]) {
  const at = pixel(x, y), i = at && at[0] * ids.width + at[1];
  return at && ids.parts[i] && ids.objects[i] ? [`p${ids.parts[i]}@${ids.objects[i]}`] : [];
}

const place = (event) => { const area = stage.getBoundingClientRect(); return [event.clientX - area.left, event.clientY - area.top]; };

export function startPhoto() {
  listen(show);
  el("back").addEventListener("click", close);
  el("previous").addEventListener("click", () => step(-1));
  el("next").addEventListener("click", () => step(1));
  el("fit").addEventListener("click", fit);
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 500), ...place(event)); }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    if (event.button > 1) return;
    stage.setPointerCapture(event.pointerId);
    drag = { from: place(event), pan: event.button === 1, x: view.x, y: view.y };
  });
  stage.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    hover(x, y);
    if (!drag) return;
    const [x0, y0] = drag.from;
    if (drag.pan) { view.x = drag.x + x - x0; view.y = drag.y + y - y0; move(); return; }
    box.hidden = Math.hypot(x - x0, y - y0) < 5;
    Object.assign(box.style, { left: `${Math.min(x, x0)}px`, top: `${Math.min(y, y0)}px`, width: `${Math.abs(x - x0)}px`, height: `${Math.abs(y - y0)}px` });
  });
  stage.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { from, pan } = drag, more = event.shiftKey || event.ctrlKey || event.metaKey;
    const to = box.hidden ? from : place(event), boxed = !box.hidden;
    drag = null;
    box.hidden = true;
    if (pan) return;
    const found = !ids ? [] : event.altKey && !boxed ? partWithin(from) : partsIn(from, to);
    if (boxed && more) found.forEach((id) => state.selection.add(id));
    if (boxed && more) changed();
    else if (found.length) toggle(found, more);
    else if (!more) { state.selection.clear(); changed(); }
  });
  stage.addEventListener("pointercancel", () => { drag = null; box.hidden = true; });
  new ResizeObserver(() => { if (shown !== null) fit(); }).observe(stage);
}
