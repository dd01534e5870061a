// Labels, suggestions, and the tree of scene groups, objects and parts. Names come from people: textContent only.

import { patch, post } from "./api.js";
import { change, changed, claim, colourOf, labelOf, listen, say, sentence, state, toggle } from "./state.js";

const el = (id) => document.getElementById(id);
const refused = new Set();
let editing = false; // whether a name in the list is being typed

function node(kind, className, text = "", values = {}) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.textContent = text;
  return Object.assign(made, values);
}

const swatch = (colour) => { const made = node("span", "swatch"); made.style.background = colour; return made; };
const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;
const percent = (share) => (share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`);

const idsOf = ({ objects, parts, within }) => [...objects.map((id) => `o${id}`), ...parts.map((id) => `p${id}`), ...within.map(([object, part]) => `p${part}@${object}`)];

function describe(label) {
  const words = [];
  if (label.objects.length) words.push(`object ${label.objects.join(", ")}`);
  if (label.parts.length) words.push(`part ${label.parts.join(", ")}`);
  if (label.within.length) words.push(label.within.map(([object, part]) => `part ${part} of object ${object}`).join(", "));
  return words.join("; ");
}

function labelRow(label) {
  const row = node("li", "row");
  const colour = node("input", "", "", { type: "color", value: label.colour, title: `Colour of ${label.name}`, hidden: state.contrasting });
  colour.setAttribute("aria-label", `Colour of ${label.name}`);
  colour.addEventListener("change", () => change("recolour", { name: label.name, colour: colour.value }));
  const name = node("input", "rename", "", { value: label.name, title: describe(label), maxLength: 200 });
  name.setAttribute("aria-label", `Name of label ${label.name}`);
  name.addEventListener("input", () => { editing = true; });
  name.addEventListener("blur", () => { editing = false; });
  const rename = async () => {
    editing = false;
    if (name.value.trim() === label.name) return;
    const other = state.labels.labels.find((one) => one !== label && one.name.toLowerCase() === name.value.trim().toLowerCase());
    const done = other
      ? await change("merge", { name: other.name, first: other.name, second: label.name })
      : await change("rename", { old: label.name, name: name.value });
    if (!done) name.value = label.name;
  };
  name.addEventListener("change", rename);
  const select = node("button", "", "Select", { title: `Select ${describe(label)}` });
  select.addEventListener("click", (event) => toggle(idsOf(label), event.shiftKey));
  const split = node("button", "", "Split", { title: "A label for each of its parts and objects", disabled: idsOf(label).length < 2 });
  split.addEventListener("click", () => change("split", { name: label.name }));
  const remove = node("button", "", "×", { title: `Remove label ${label.name}` });
  remove.setAttribute("aria-label", `Remove label ${label.name}`);
  remove.addEventListener("click", () => change("remove", { name: label.name }));
  if (state.contrasting) row.append(swatch(css(colourOf("label", label.id))));
  for (const [at, control] of [colour, name, select, split, remove].entries()) {
    control.dataset.key = `${label.id}/${at}`;
    row.append(control);
  }
  return row;
}

function item(id, colour, text, details, className) {
  const row = node("li", `row item ${className}`, "", { tabIndex: 0 });
  row.dataset.id = id;
  row.setAttribute("role", "option");
  const words = node("span", "text", text);
  words.append(" ", node("em"), node("small", "", details));
  row.append(swatch(css(colour)), words);
  return row;
}

function partRow(object, part) {
  const { run, statistics } = state;
  const share = statistics ? `${percent(statistics.shares[part])}, ${statistics.photos[part]} photos` : "";
  const row = item(`p${part}`, colourOf("part", part), `part ${part}`, share, "part");
  row.dataset.object = object;
  if (statistics) {
    const patches = node("span", "patches");
    for (const index of statistics.best[part].slice(0, 4)) {
      patches.append(node("img", "", "", { src: patch(part, index), alt: "", loading: "lazy" }));
    }
    row.append(patches);
  }
  return row;
}

let built = null;
function buildTree() {
  const basis = `${Boolean(state.statistics)} ${state.contrasting}`;
  if (built === basis) return;
  built = basis;
  const tree = el("tree"), { run } = state, parts = new Map(run.objects);
  tree.replaceChildren();
  run.scenes.forEach((objects, scene) => {
    if (run.scenes.length > 1) tree.append(node("li", "row", `Scene group ${scene + 1}`));
    for (const object of objects) {
      tree.append(item(`o${object}`, colourOf("object", object), `object ${object}`, "", "object"));
      tree.append(...parts.get(object).map((part) => partRow(object, part)));
    }
  });
  const without = run.objectOfPart.map((object, part) => (object || !part ? 0 : part)).filter(Boolean);
  tree.append(...without.map((part) => partRow(0, part)));
}

function suggestionRow({ parts, why }) {
  const row = node("li", "row"), take = node("button", "", "Take"), refuse = node("button", "", "Refuse");
  const text = node("span", "text", `parts ${parts.join(" and ")}`);
  text.append(node("small", "", why));
  row.append(text, take, refuse);
  take.title = "Select them, to give them a name";
  take.addEventListener("click", () => { refused.add(parts.join()); toggle(parts.map((part) => `p${part}`), false); el("label").focus(); });
  refuse.addEventListener("click", () => { refused.add(parts.join()); changed(); });
  return row;
}

function showLabels(matches) {
  const key = document.activeElement?.dataset.key; // the keyboard stays where it was
  el("labels").replaceChildren(...state.labels.labels.filter((one) => matches(`${one.name} ${describe(one)}`)).map(labelRow));
  if (key) document.querySelector(`#labels [data-key="${key}"]`)?.focus();
}

function show() {
  const words = el("search").value.trim().toLowerCase();
  const matches = (text) => text.toLowerCase().includes(words);
  if (!editing) showLabels(matches);
  el("names").replaceChildren(...state.labels.labels.map((one) => node("option", "", "", { value: one.name })));
  buildTree();
  for (const row of el("tree").children) {
    const { id, object } = row.dataset, ignored = id && state.labels.ignored[id[0] === "p" ? "parts" : "objects"].includes(Number(id.slice(1)));
    if (!id) continue;
    const label = id[0] === "p" ? labelOf(Number(object), Number(id.slice(1))) : labelOfObject(Number(id.slice(1)));
    row.hidden = !matches(`${row.textContent} ${label ? label.name : ""}`);
    row.classList.toggle("chosen", state.selection.has(id));
    row.setAttribute("aria-selected", state.selection.has(id));
    row.querySelector("em").textContent = ignored ? "ignored" : label ? label.name : "no label";
  }
  const offers = (state.statistics?.suggestions || []).filter(({ parts }) => !refused.has(parts.join()) && !sameLabel(parts));
  el("offers").hidden = !offers.length;
  el("suggestions").replaceChildren(...offers.slice(0, 4).map(suggestionRow));
  const what = claim().replace("objects:", "objects ").replace("parts:", "parts ").replace(" parts", ", parts").replace(/^, /, "");
  el("selected").textContent = what ? `Selected: ${what}` : "Nothing selected";
  for (const id of ["give", "move", "ignore", "clear"]) el(id).disabled = !what;
  el("divide").disabled = !onePart();
  const chosen = el("object").value;
  el("object").replaceChildren(...state.run.objects.map(([object]) => objectOption(object)));
  if (chosen) el("object").value = chosen;
}

const labelOfObject = (object) => state.labels.labels.find((one) => one.objects.includes(object));

function objectOption(object) {
  const label = labelOfObject(object), own = `object ${object}`;
  return Object.assign(new Option(!label ? `${own} (no label)` : label.name === own ? own : `${own} (${label.name})`, object), { disabled: !label });
}

function sameLabel(parts) {
  const given = parts.map((part) => state.labels.labels.find((one) => one.parts.includes(part)));
  return given[0] && given.every((one) => one === given[0]);
}

async function changeSelection(action, values = {}) {
  if (!state.selection.size || !(await change(action, { ids: claim(), ...values }))) return;
  state.selection.clear();
  changed();
}

// The part that is selected, if it is one alone.
const onePart = () => Number([...state.selection].join(" ").match(/^p(\d+)$/)?.[1] ?? 0);

async function splitPart() {
  const values = { version: state.labels.version, part: onePart(), into: el("pieces").valueAsNumber };
  try { await post("/api/split", values); } catch (error) { say(sentence(error)); }
}

export const ignore = () => changeSelection("ignore");

export function startSidebar() {
  listen(show);
  el("search").addEventListener("input", show);
  const choose = (event) => {
    const row = event.target.closest(".item");
    if (!row || (event.key && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    toggle([row.dataset.id], event.shiftKey || event.ctrlKey || event.metaKey);
  };
  el("tree").addEventListener("click", choose);
  el("tree").addEventListener("keydown", (event) => {
    const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!by) { choose(event); return; }
    event.preventDefault();
    let row = event.target[by];
    while (row && (row.hidden || !row.dataset.id)) row = row[by];
    row?.focus();
  });
  el("clear").addEventListener("click", () => { state.selection.clear(); changed(); });
  el("ignore").addEventListener("click", ignore);
  el("selection").addEventListener("submit", async (event) => {
    event.preventDefault();
    await changeSelection("name", { name: el("label").value });
    if (!state.selection.size) el("label").value = "";
  });
  el("move").addEventListener("click", () => changeSelection("move", { object: el("object").value }));
  el("divide").addEventListener("click", splitPart);
}
