// Requests to the page's server. What changes something carries the page's token.

const token = document.querySelector("meta[name=token]").content;

async function answered(response) {
  const values = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (response.ok) return values;
  throw Object.assign(new Error(values.error), { status: response.status });
}

export const get = async (path) => answered(await fetch(path));

export async function post(path, values) {
  const headers = { "content-type": "application/json", "x-leopart-token": token };
  return answered(await fetch(path, { method: "POST", headers, body: JSON.stringify(values) }));
}

const kept = new Map();
let version = ""; // masks that the browser has kept are of other ids after a split

export const ofIds = (ids) => { version = ids.slice(0, 12); };
export const patch = (part, index) => `/patch/${part}/${index}?${version}`;

// Ids of a photo: {width, height, parts, objects}; the last ones are kept.
export function mask(size, index) {
  const key = `${size}/${index}`;
  if (!kept.has(key)) {
    if (kept.size >= 400) kept.delete(kept.keys().next().value);
    kept.set(key, fetched(key).catch((error) => { kept.delete(key); throw error; }));
  }
  return kept.get(key);
}

async function fetched(key) {
  const response = await fetch(`/mask/${key}?${version}`);
  if (!response.ok) await answered(response);
  const ids = new Uint16Array(await response.arrayBuffer());
  const [width, height] = ids, pixels = width * height;
  return { width, height, parts: ids.subarray(2, 2 + pixels), objects: ids.subarray(2 + pixels) };
}
