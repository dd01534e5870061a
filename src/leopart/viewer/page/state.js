// What the page knows, and who wants to hear of changes.

import { get, post } from "./api.js";

export const state = {
  run: null, // see Run.described
  labels: null, // see Draft.state
  statistics: null, // null until the masks are counted
  selection: new Set(), // "p3", "o2", or "p3@2" for part 3 within object 2
  mode: "labels",
  opacity: 0.55,
  outlines: true,
  contrasting: false, // whether all colours are of the twelve that colour-blind people can tell apart
  order: [], // indices of photos
  current: null, // place in `order` of the large photo
};

const listeners = [];
export const listen = (listener) => listeners.push(listener);
export const changed = () => listeners.forEach((listener) => listener());

let hiding;
export function say(text) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.hidden = !text;
  clearTimeout(hiding);
  hiding = setTimeout(() => { place.hidden = true; }, 8000);
}

export async function reload() {
  state.labels = await get("/api/labels");
  changed();
}

// One change of the labels; what is refused is said, and the labels in force are shown.
export async function change(action, values = {}) {
  try {
    state.labels = await post("/api/change", { version: state.labels.version, action, ...values });
    say((state.labels.said || []).join("\n"));
    changed();
    return true;
  } catch (error) {
    say(sentence(error));
    if (error.status === 409) await reload();
    return false;
  }
}

export const sentence = (error) =>
  error instanceof TypeError ? "The server has ended; start leopart view again. Your draft is kept." : error.message;

export function toggle(ids, more) {
  const all = ids.every((id) => state.selection.has(id));
  const only = state.selection.size === ids.length;
  if (!more) state.selection.clear();
  for (const id of ids) {
    if (all && (more || only)) state.selection.delete(id);
    else state.selection.add(id);
  }
  changed();
}

// The selection as `leopart label` writes it: objects:2 parts:3,7,8@2
export function claim(selection = state.selection) {
  const of = (kind) => [...selection].filter((id) => id[0] === kind).map((id) => id.slice(1)).sort((a, b) => parseInt(a) - parseInt(b));
  const words = [["objects", of("o")], ["parts", of("p")]];
  return words.filter(([, ids]) => ids.length).map(([kind, ids]) => `${kind}:${ids.join(",")}`).join(" ");
}

// The colour that is drawn, [r, g, b]: of the files, or one of the twelve.
export function colourOf(kind, id) {
  const { run, labels, contrasting } = state;
  if (contrasting) return run.contrasting[(kind === "label" ? labels.labels.findIndex((one) => one.id === id) : id - 1) % run.contrasting.length];
  if (kind === "label") return rgb(labels.labels.find((one) => one.id === id).colour);
  return (kind === "part" ? run.partColours : run.objectColours)[id];
}

const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

export function labelOf(object, part) {
  const id = state.labels.table[object][part];
  return state.labels.labels.find((label) => label.id === id);
}
