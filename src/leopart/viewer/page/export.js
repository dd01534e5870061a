// Masks for other programs: the dialog with the options of `leopart export`, and the download.

import { post } from "./api.js";
import { sentence, state } from "./state.js";

const el = (id) => document.getElementById(id);
const dialog = el("exporting"), form = el("wanted");
let asked = false; // whether the export that is running, or ended last, was begun in this window

const options = () => [...form.querySelectorAll("[data-option]")];
const control = (name) => form.elements.namedItem(name);
const offered = (name) => state.run.formats[control("format").value].includes(name);

function values() {
  const given = options().map((row) => row.dataset.option).filter(offered).map((name) => {
    const input = control(name);
    return [name, input.type === "checkbox" ? input.checked : input.type === "number" ? input.valueAsNumber : input.value];
  });
  return { format: control("format").value, ...Object.fromEntries(given) };
}

function choose() {
  options().forEach((row) => { row.hidden = !offered(row.dataset.option); });
  el("fetch").hidden = true;
  tell("");
}

function tell(text, notes = []) {
  el("exported").textContent = text;
  el("remarks").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
}

async function begin(event, progress) {
  event.preventDefault();
  el("fetch").hidden = true;
  try {
    await post("/api/export", values());
    asked = true;
    await progress();
  } catch (error) { tell(sentence(error)); }
}

async function fetchZip() {
  try {
    const { address } = await post("/api/download", { format: control("format").value });
    Object.assign(document.createElement("a"), { href: address, download: "" }).click();
  } catch (error) { tell(sentence(error)); }
}

// How far the server's work is; called again and again while it works.
export function showExport({ running, title, done, total, message, notes, exported }) {
  el("begin").disabled = running;
  el("far").hidden = !running;
  if (running) {
    tell(`${title}: ${done} of ${total}`);
    Object.assign(el("far"), { max: total || 1, value: done });
  } else if (asked) {
    asked = false;
    tell(message, notes);
    el("fetch").hidden = exported !== control("format").value;
    if (!el("fetch").hidden && dialog.open) el("fetch").focus();
  }
}

export function startExport(progress) {
  control("format").append(...Object.keys(state.run.formats).map((name) => new Option(name, name)));
  control("format").addEventListener("change", choose);
  el("export").addEventListener("click", () => {
    if (!state.labels.saved) tell("There are changes that are not saved; the export holds the labels as last saved.");
    dialog.showModal();
  });
  form.addEventListener("submit", (event) => begin(event, progress));
  el("fetch").addEventListener("click", fetchZip);
  el("leave").addEventListener("click", () => dialog.close());
  choose();
}
