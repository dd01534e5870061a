// Ids to colours, on a canvas, for every change of mode, name, colour or selection.

import { colourOf, state } from "./state.js";

let tables = null;

// Colour (RGBA in one number) and group of every part within every object.
export function prepare() {
  const { run, labels, mode, opacity, selection } = state;
  const columns = run.parts + 1, rows = run.objectColours.length;
  const colours = new Uint32Array(columns * rows), groups = new Uint16Array(columns * rows);
  const ofLabel = new Map(labels.labels.map(({ id }) => [id, colourOf("label", id)]));
  const chosen = new Uint8Array(columns * rows);
  for (let object = 0; object < rows; object++) {
    for (let part = 1; part < columns; part++) {
      const at = object * columns + part, label = labels.table[object][part];
      const group = { photo: 0, parts: part, objects: object, labels: label }[mode];
      const colour = { photo: null, parts: colourOf("part", part), objects: object && colourOf("object", object), labels: ofLabel.get(label) }[mode];
      groups[at] = group;
      chosen[at] = selection.has(`p${part}`) || (object && (selection.has(`o${object}`) || selection.has(`p${part}@${object}`))) ? 1 : 0;
      if (colour && group) colours[at] = packed(colour, opacity * 255 * (selection.size && !chosen[at] ? 0.45 : 1));
      if (chosen[at] && mode === "photo") colours[at] = packed([255, 220, 0], opacity * 160);
    }
  }
  tables = { colours, groups, chosen, columns };
}

const packed = ([r, g, b], alpha) => ((Math.round(alpha) << 24) | (b << 16) | (g << 8) | r) >>> 0;
const CHOSEN = packed([255, 255, 255], 255), SHADOW = packed([0, 0, 0], 255);

export function paint(canvas, mask) {
  const { width, height, parts, objects } = mask;
  const { colours, groups, chosen, columns } = tables;
  const context = canvas.getContext("2d");
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const last = width - 1, end = pixels.length - width;
  for (let i = 0, column = 0; i < pixels.length; i++, column = column === last ? 0 : column + 1) {
    const at = objects[i] * columns + parts[i];
    pixels[i] = colours[at];
    if (column === last || i >= end) continue;
    const right = objects[i + 1] * columns + parts[i + 1], below = objects[i + width] * columns + parts[i + width];
    if (at === right && at === below) continue;
    if (chosen[at] !== chosen[right] || chosen[at] !== chosen[below]) pixels[i] = (i + ((i / width) | 0)) % 6 < 3 ? CHOSEN : SHADOW;
    else if (state.outlines && (groups[at] !== groups[right] || groups[at] !== groups[below])) {
      const colour = colours[at] || colours[groups[at] !== groups[right] ? right : below];
      pixels[i] = (colour | 0xff000000) >>> 0;
    }
  }
  context.putImageData(image, 0, 0);
}
