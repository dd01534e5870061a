// Starts the page, and what belongs to no single place of it: saving, keys, progress.

import { get, ofIds, post } from "./api.js";
import { showExport, startExport } from "./export.js";
import { sort, startGrid } from "./grid.js";
import { prepare } from "./paint.js";
import { close, fit, startPhoto, step, zoom } from "./photo.js";
import { ignore, startSidebar } from "./sidebar.js";
import { change, changed, listen, reload, say, sentence, state } from "./state.js";

const el = (id) => document.getElementById(id);
let writing = { running: false, message: "" };

function status() {
  el("undo").disabled = !state.labels.undo && !state.labels.unsplit;
  el("redo").disabled = !state.labels.redo;
  el("save").disabled = writing.running;
  const { running, title, done, total, message, exported } = writing;
  let text = state.labels.saved ? (!exported && message) || "No unsaved changes" : "Not saved; draft kept";
  if (running) text = `${title}: ${done} of ${total}`;
  el("saved").textContent = el("saved").title = text;
}

async function save(overwrite = false) {
  try {
    state.labels = await post("/api/save", { version: state.labels.version, overwrite });
    changed();
    await progress();
  } catch (error) {
    if (error.status !== 409 || !error.message.includes("another program")) { say(sentence(error)); if (error.status === 409) await reload(); return; }
    el("why").textContent = error.message;
    el("conflict").showModal();
  }
}

async function undo() {
  if (state.labels.undo || !state.labels.unsplit) { await change("undo"); return; }
  try { await post("/api/split", { version: state.labels.version, back: true }); await progress(); } catch (error) { say(sentence(error)); }
}

// The run has other parts now: begin again, at the photo that was shown.
function startAgain() {
  sessionStorage.setItem("place", JSON.stringify([state.current, state.mode]));
  location.reload();
}

let waiting;
async function progress() {
  clearTimeout(waiting);
  try {
    const found = await get("/api/progress"), before = writing.running;
    writing = found.writing;
    showExport(writing);
    if (found.ids !== state.run.ids) { startAgain(); return; }
    if (found.version !== state.labels.version) await reload();
    if (before && !writing.running && !writing.exported) say(writing.message);
    if (!state.statistics && !found.counting.running) {
      const statistics = await get("/api/statistics");
      if (statistics.ready) { state.statistics = statistics; changed(); }
      else if (found.counting.message) say(found.counting.message);
    }
    status();
  } catch (error) { el("saved").textContent = sentence(error); }
  waiting = setTimeout(progress, writing.running || !state.statistics ? 400 : 3000);
}

function mode(value) {
  document.querySelector(`#modes input[value=${value}]`).checked = true;
  state.mode = value;
  changed();
}

function keys(event) {
  const typing = event.target.matches("input:not([type=radio]):not([type=checkbox]):not([type=range]), select");
  const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (control && key === "s") { event.preventDefault(); if (!el("save").disabled) save(); return; }
  if (control && (key === "z" || key === "y") && !typing) { event.preventDefault(); if (key === "y" || event.shiftKey) change("redo"); else undo(); return; }
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing || control || event.altKey || document.querySelector("dialog[open]")) return;
  const large = state.current !== null;
  const actions = {
    1: () => mode("photo"), 2: () => mode("parts"), 3: () => mode("objects"), 4: () => mode("labels"),
    o: () => el("outlines").click(), n: () => el("label").focus(), i: ignore, m: () => el("object").focus(), p: () => el("divide").focus(), "/": () => el("search").focus(), "?": () => el("keys").showModal(), e: () => el("export").click(),
    ...(large && { escape: close, arrowleft: () => step(-1), arrowright: () => step(1), 0: fit, "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8) }),
  };
  if (!actions[key] || (event.target.matches("input") && key.startsWith("arrow"))) return;
  event.preventDefault();
  actions[key]();
}

async function start() {
  listen(prepare);
  startPhoto();
  startSidebar();
  listen(status);
  [state.run, state.labels] = await Promise.all([get("/api/run"), get("/api/labels")]);
  ofIds(state.run.ids);
  document.title = `${state.run.folder} - Leopart`;
  el("folder").textContent = state.run.folder;
  startGrid();
  startExport(progress);
  changed();
  await sort();
  const [place, shown] = JSON.parse(sessionStorage.getItem("place") ?? "[null, null]");
  sessionStorage.removeItem("place");
  if (place !== null && place < state.order.length) state.current = place;
  if (shown) mode(shown);
  document.addEventListener("keydown", keys);
  el("modes").addEventListener("change", (event) => mode(event.target.value));
  el("opacity").addEventListener("input", () => { state.opacity = el("opacity").value / 100; changed(); });
  el("outlines").addEventListener("change", () => { state.outlines = el("outlines").checked; changed(); });
  el("contrast").checked = state.contrasting = localStorage.getItem("contrast") === "yes";
  el("contrast").addEventListener("change", () => {
    state.contrasting = el("contrast").checked;
    localStorage.setItem("contrast", state.contrasting ? "yes" : "no");
    changed();
  });
  el("undo").addEventListener("click", undo);
  el("redo").addEventListener("click", () => change("redo"));
  el("save").addEventListener("click", () => save());
  el("help").addEventListener("click", () => el("keys").showModal());
  el("take").addEventListener("click", () => { el("conflict").close(); change("reload"); });
  el("over").addEventListener("click", () => { el("conflict").close(); save(true); });
  el("cancel").addEventListener("click", () => el("conflict").close());
  say(state.labels.notes.join("\n"));
  progress();
}

start().catch((error) => say(sentence(error)));
