"use strict";
// Without this script the page shows everything; with it, one can point, look closer and filter.
const all = (query, from = document) => [...from.querySelectorAll(query)];
const get = (id) => document.getElementById(id);

// Names that `leopart label` gave after the page was written.

const names = JSON.parse(get("names").textContent);
for (const place of all("[data-named]")) {
  const name = names[place.dataset.named];
  if (name) place.textContent = ` (${name})`;
}
for (const option of all("#only option")) {
  const name = names[option.value];
  if (name) option.textContent += ` (${name})`;
}
const nameOf = (region) =>
  names[`part ${region.part} of object ${region.object}`] ?? names[`part ${region.part}`] ?? names[`object ${region.object}`];

// What a photo shows: part ids on a small grid, and of each part its object and its name.

const known = new Map();

function decode(shot) {
  const [width, height] = shot.dataset.size.split(" ").map(Number);
  const rows = JSON.parse(shot.dataset.regions).map(([part, object]) => [part, { part, object, cells: 0 }]);
  return { width, height, regions: new Map(rows), ids: null };
}

async function unpack(content, packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const ids = new Uint16Array(await new Response(stream).arrayBuffer());
  for (const id of ids) if (content.regions.has(id)) content.regions.get(id).cells += 1;
  content.ids = ids;
}

function contentOf(shot) {
  if (!("map" in shot.dataset)) return Promise.resolve(null);
  if (!known.has(shot)) {
    const content = decode(shot);
    known.set(shot, unpack(content, shot.dataset.map).then(() => content));
  }
  return known.get(shot);
}

/** The region below a point, given as fractions of the photo's width and height. */
function regionAt(content, x, y) {
  if (!content || x < 0 || y < 0 || x >= 1 || y >= 1) return undefined;
  const place = Math.floor(y * content.height) * content.width + Math.floor(x * content.width);
  return content.regions.get(content.ids[place]) ?? null;
}

function describe(region) {
  if (!region) return "background";
  const object = region.object ? ` · object ${region.object}` : "";
  const name = nameOf(region);
  return `part ${region.part}${object}${name ? ` · ${name}` : ""}`;
}

// Pointing at a small picture.

const tip = get("tip");

/** Where the pointer is in a picture that is fitted into its box, as fractions of the picture. */
function within(picture, event) {
  const box = picture.getBoundingClientRect();
  const scale = Math.min(box.width / picture.naturalWidth, box.height / picture.naturalHeight);
  const width = scale * picture.naturalWidth, height = scale * picture.naturalHeight;
  return [(event.clientX - box.left - (box.width - width) / 2) / width,
    (event.clientY - box.top - (box.height - height) / 2) / height];
}

async function point(shot, event) {
  if (event.target.tagName !== "IMG") return;
  const region = regionAt(await contentOf(shot), ...within(event.target, event));
  tip.hidden = region === undefined;
  tip.textContent = describe(region);
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 18, innerHeight - tip.offsetHeight - 8)}px`;
}

// A closer look.

const closer = get("closer"), stage = closer.querySelector(".stage"), picture = stage.querySelector("img");
const canvas = stage.querySelector("canvas"), list = closer.querySelector("ul");
let current = null, content = null, view = "parts";

function show(name) {
  view = name;
  const pictures = Object.fromEntries(all(".triple img", current).map((one) => [one.alt.split(" ")[0], one.src]));
  const full = current.querySelector(".full");
  picture.onerror = () => { picture.onerror = null; picture.src = pictures[name]; }; // the overlay has gone
  picture.src = name === "parts" && full ? full.href : pictures[name];
  picture.alt = `${name} of ${get("closer-name").textContent}`;
  for (const button of all("[data-view]", closer)) {
    button.disabled = !(button.dataset.view in pictures);
    button.setAttribute("aria-pressed", button.dataset.view === name);
  }
}

/** Darkens all but one region; nothing, without one. */
function light(region) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const link of all("a", list)) link.classList.toggle("on", link.dataset.part === String(region?.part));
  get("under").textContent = region === undefined ? "" : describe(region);
  if (!region) return;
  const shade = pen.createImageData(canvas.width, canvas.height);
  content.ids.forEach((id, place) => { shade.data[4 * place + 3] = id === region.part ? 0 : 165; });
  pen.putImageData(shade, 0, 0);
}

function entry(region) {
  const item = document.createElement("li"), link = document.createElement("a");
  const dot = document.createElement("span"), share = document.createElement("span");
  dot.className = "dot";
  dot.style.background = get(`part-${region.part}`)?.querySelector(".dot").style.background ?? "";
  const percent = Math.round((100 * region.cells) / content.ids.length);
  share.textContent = percent ? `${percent} %` : "< 1 %";
  link.href = `#part-${region.part}`;
  link.dataset.part = region.part;
  link.append(dot, describe(region), share);
  link.addEventListener("focus", () => light(region));
  link.addEventListener("mouseenter", () => light(region));
  link.addEventListener("click", () => closer.close());
  item.append(link);
  return item;
}

function fitStage() {
  if (!closer.open) return;
  const small = current.querySelector("img"), room = stage.parentElement.getBoundingClientRect();
  const side = room.width > 640 ? room.width - 280 : room.width;
  const scale = Math.min(side / small.naturalWidth, (room.width > 640 ? room.height : innerHeight / 2) / small.naturalHeight);
  stage.style.width = `${scale * small.naturalWidth}px`;
  stage.style.height = `${scale * small.naturalHeight}px`;
}

async function open(shot) {
  current = shot;
  tip.hidden = true;
  get("closer-name").textContent = shot.querySelector("figcaption bdi").textContent;
  const full = shot.querySelector(".full");
  get("closer-full").hidden = !full;
  if (full) get("closer-full").href = full.href;
  if (!closer.open) closer.showModal();
  const small = shot.querySelector("img");
  small.loading = "eager"; // one that has not been scrolled to has no size yet
  await small.decode();
  show(view in { photo: 1, objects: 1 } ? view : "parts");
  fitStage();
  const found = await contentOf(shot);
  if (current !== shot) return; // another photo was asked for meanwhile
  content = found;
  canvas.width = content?.width ?? 1;
  canvas.height = content?.height ?? 1;
  const regions = [...(content?.regions.values() ?? [])].filter((one) => one.cells);
  list.replaceChildren(...regions.sort((a, b) => b.cells - a.cells).map(entry));
  light(undefined);
  closer.dataset.shown = shot.id;
}

function step(by) {
  const shots = all(".shot:not([hidden])");
  open(shots[(shots.indexOf(current) + by + shots.length) % shots.length]);
}

for (const shot of all(".shot")) {
  const triple = shot.querySelector(".triple");
  triple.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(shot);
  });
  triple.addEventListener("mousemove", (event) => point(shot, event));
  triple.addEventListener("mouseleave", () => { tip.hidden = true; });
}
const under = (event) => content && regionAt(content, ...within(picture, event));
stage.addEventListener("mousemove", (event) => light(under(event) ?? undefined));
stage.addEventListener("mouseleave", () => light(undefined));
stage.addEventListener("click", (event) => {
  const region = under(event);
  if (!region) return;
  closer.close();
  location.hash = `part-${region.part}`;
});
for (const button of all("[data-view]", closer)) button.addEventListener("click", () => show(button.dataset.view));
for (const button of all("[data-step]", closer)) button.addEventListener("click", () => step(Number(button.dataset.step)));
get("closer-close").addEventListener("click", () => closer.close());
closer.addEventListener("click", (event) => { if (event.target === closer) closer.close(); });
closer.addEventListener("keydown", (event) => {
  const name = { 1: "photo", 2: "parts", 3: "objects" }[event.key], by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (name) show(name);
  if (by) step(by);
});
addEventListener("resize", fitStage);

// Photos with one part or object only.

const only = get("only");

function filter(value) {
  const [kind, number] = value.split(" ");
  let shown = 0;
  for (const shot of all(".shot")) {
    const rows = JSON.parse(shot.dataset.regions ?? "[]");
    shot.hidden = Boolean(value) && !rows.some((row) => row[kind === "part" ? 0 : 1] === Number(number));
    shown += shot.hidden ? 0 : 1;
  }
  get("matching").textContent = value ? `${shown} of the ${all(".shot").length} photos shown here` : "";
}

if (only) {
  get("filter").hidden = false;
  only.addEventListener("change", () => filter(only.value));
  for (const link of all("[data-only]")) {
    link.addEventListener("click", () => { only.value = link.dataset.only; filter(only.value); });
  }
}

// The graph: a part and its neighbours.

const nodes = all(".map .node"), edges = all(".map .edge");

function single(node) {
  const near = new Set([node.dataset.part]);
  for (const edge of edges) {
    const ends = edge.dataset.ends.split(" ");
    edge.classList.toggle("faint", !ends.includes(node.dataset.part));
    if (ends.includes(node.dataset.part)) ends.forEach((end) => near.add(end));
  }
  nodes.forEach((other) => other.classList.toggle("faint", !near.has(other.dataset.part)));
}

const everything = () => [...nodes, ...edges].forEach((it) => it.classList.remove("faint"));
for (const node of nodes) {
  for (const name of ["mouseenter", "focus"]) node.addEventListener(name, () => single(node));
  for (const name of ["mouseleave", "blur"]) node.addEventListener(name, everything);
}

// A link to something folded unfolds it, and the keyboard goes on from there.

function arrive() {
  const target = get(location.hash.slice(1));
  if (!target) return;
  for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target.scrollIntoView();
  target.focus({ preventScroll: true });
}

addEventListener("hashchange", arrive);
arrive();
