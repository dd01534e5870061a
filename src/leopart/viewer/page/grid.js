// All photos: only the tiles in sight exist.

import { get, mask } from "./api.js";
import { paint } from "./paint.js";
import { changed, listen, say, sentence, state } from "./state.js";

const LEAST = 190, HEIGHT = 178, PAD = 12;
const grid = document.getElementById("grid"), sheet = document.getElementById("sheet");
const order = document.getElementById("order"), part = document.getElementById("part");
const tiles = new Map();
let focused = 0;

const columns = () => Math.max(1, Math.floor((grid.clientWidth - PAD) / LEAST));

function show() {
  if (!state.run || grid.clientHeight === 0) return;
  const across = columns(), width = (grid.clientWidth - PAD) / across, total = state.order.length;
  sheet.style.height = `${Math.ceil(total / across) * HEIGHT + PAD}px`;
  const first = Math.max(0, Math.floor(grid.scrollTop / HEIGHT) - 1) * across;
  const last = Math.min(total, (Math.ceil((grid.scrollTop + grid.clientHeight) / HEIGHT) + 1) * across);
  for (const [place, tile] of tiles) if (place < first || place >= last) { tile.remove(); tiles.delete(place); }
  for (let place = first; place < last; place++) {
    if (!tiles.has(place)) { tiles.set(place, made(place)); sheet.append(tiles.get(place)); }
    const tile = tiles.get(place);
    tile.style.left = `${PAD + (place % across) * width}px`;
    tile.style.width = `${width - PAD}px`;
    tile.style.top = `${PAD + Math.floor(place / across) * HEIGHT}px`;
    tile.tabIndex = place === focused ? 0 : -1;
  }
}

function made(place) {
  const index = state.order[place], name = state.run.photos[index][0];
  const tile = document.createElement("button"), view = document.createElement("span"), caption = document.createElement("span");
  const picture = new Image(), canvas = document.createElement("canvas");
  Object.assign(picture, { src: `/photo/thumb/${index}`, alt: "" });
  tile.className = "tile"; view.className = "view"; caption.className = "caption";
  tile.title = caption.textContent = name;
  tile.dataset.place = place;
  view.append(picture, canvas);
  tile.append(view, caption);
  tile.canvas = canvas;
  mask("thumb", index).then((ids) => { tile.ids = ids; if (tile.isConnected) paint(canvas, ids); }).catch(() => { caption.textContent = `${name}: its masks cannot be read`; });
  return tile;
}

function focus(place) {
  focused = Math.min(Math.max(0, place), state.order.length - 1);
  const top = Math.floor(focused / columns()) * HEIGHT;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + HEIGHT + PAD > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + HEIGHT + PAD - grid.clientHeight;
  show();
  tiles.get(focused)?.focus();
}

export function focusPhoto(place) {
  focus(place);
}

export async function sort() {
  const by = order.value;
  document.getElementById("which").hidden = by !== "area" && by !== "odd";
  try {
    state.order = by === "name" ? state.run.photos.map((_, index) => index) : await get(`/api/order?by=${by}&part=${part.value}`);
  } catch (error) {
    say(sentence(error));
    order.value = "name";
    return sort();
  }
  document.getElementById("count").textContent = `${state.order.length.toLocaleString("en")} photos`;
  tiles.forEach((tile) => tile.remove());
  tiles.clear();
  focused = grid.scrollTop = 0;
  show();
}

export function startGrid() {
  for (let id = 1; id <= state.run.parts; id++) part.append(new Option(id, id));
  order.querySelector("[value=confidence]").hidden = !state.run.hasConfidence;
  grid.addEventListener("scroll", show, { passive: true });
  new ResizeObserver(show).observe(grid);
  order.addEventListener("change", sort);
  part.addEventListener("change", sort);
  sheet.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile) return;
    focused = state.current = Number(tile.dataset.place);
    changed();
  });
  sheet.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    focus(focused + step);
  });
  listen(() => { if (state.current === null) tiles.forEach((tile) => tile.ids && paint(tile.canvas, tile.ids)); });
}
