// Maps of relevance as the reader asks for them: classes, their difference and overlap, layers and heads.

const DIFFERENCE = "difference";
const OVERLAP = "overlap";
const NOISE = 1e-6; // of the largest value: what is more negative is a sign, not rounding
const HEAD_FUSIONS = {
  mean: meanOf,
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
  sum: sumOf,
};
const LAYER_FUSIONS = {
  mean: meanOf,
  sum: sumOf,
  max: (values) => Math.max(...values),
  product: (values) => values.reduce((product, value) => product * value, 1),
};
const known = new WeakMap(); // detail → maps of all classes by row, layers and head

/**
 * The map of a row and a class (or "difference", "overlap" of the classes compared), in raw units.
 *
 * All classes of one image and row share one scale: `limit` is their largest absolute value. The difference
 * has the same units, and twice the limit where maps are signed: difference / scale is what
 * `Explanation.difference` returns.
 * @returns {?{rows: number, cols: number, values: Float32Array, limit: number, signed: boolean, scale: number}}
 *   null where the image has no such map
 */
function mapFor(detail, row, label, chosen = look) {
  const family = familyOf(detail, row, chosen);
  if (!family) return null;
  if (Object.hasOwn(family.maps, label)) return { ...family.maps[label], ...family.range };
  if (label !== DIFFERENCE && label !== OVERLAP) return null;
  const [first, second] = (page.compared ?? []).map((name) => family.maps[name]);
  if (!first || !second) return null;
  const { limit, signed, scale } = family.range;
  if (label === OVERLAP) {
    const values = first.values.map((value, i) => Math.max(0, Math.min(value, second.values[i])));
    return { ...first, values, limit, signed: false, scale, relativeRange: null };
  }
  const values = first.values.map((value, i) => value - second.values[i]);
  return { ...first, values, limit: signed ? 2 * limit : limit, signed: true, scale, relativeRange: null };
}

/** The class whose map stands for an image: the one chosen, else the one that was followed. */
function labelFor(detail, row, chosen = look) {
  if (!chosen.own) return chosen.label;
  const { target } = detail.entry;
  const names = Object.keys(detail.maps[row] ?? {});
  return names.includes(target) ? target : (names[0] ?? chosen.label);
}

/** {maps: class → {rows, cols, values}, range: {limit, signed, scale}} of one row. */
function familyOf(detail, row, chosen) {
  const again = refused(row, chosen);
  const key = JSON.stringify([row, ...(again ? [chosen.layers, chosen.head] : [])]);
  if (!known.has(detail)) known.set(detail, new Map());
  const families = known.get(detail);
  if (!families.has(key)) {
    const maps = again ? fusedMaps(detail, chosen) : decodedMaps(detail, row);
    families.set(key, maps && { maps, range: sharedRange() ?? rangeOf(Object.values(maps)) });
  }
  return families.get(key);
}

function decodedMaps(detail, row) {
  const grids = detail.maps[row];
  return grids ? mapValues(grids, decodeGrid) : null;
}

/** All frames of a video share one scale, as their pictures do. */
function sharedRange() {
  if (!page.timeline) return null;
  const { limit, signed } = page.timeline;
  return { limit, signed, scale: limit };
}

function rangeOf(maps) {
  let [low, high] = [0, 0];
  for (const { values } of maps) {
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const limit = Math.max(-low, high);
  return { limit, signed: low < -NOISE * limit, scale: limit };
}

/** Whether maps of this row have to be fused again from layers and heads. */
function refused(row, chosen) {
  return page.fusion?.row === row && (chosen.layers !== AS_EXPLAINED || chosen.head !== AS_EXPLAINED);
}

function fusedMaps(detail, chosen) {
  return mapValues(detail.products, (stack) => fuse(decodeStack(stack), page.fusion, chosen));
}

/** Fuse layers × heads over heads, then over layers, clamped as the method's options say. */
function fuse(stack, fusion, chosen) {
  const { rows, cols, values } = stack;
  const patches = rows * cols;
  const layers = layersOf(stack, fusion, chosen.layers);
  const heads = typeof chosen.head === "number" ? [chosen.head] : [...Array(stack.heads).keys()];
  const overHeads = HEAD_FUSIONS[HEAD_FUSIONS[chosen.head] ? chosen.head : fusion.head_fusion];
  const overLayers = LAYER_FUSIONS[fusion.layer_fusion];
  const read = fusion.clamp === "heads" ? (i) => Math.max(0, values[i]) : (i) => values[i];
  const fused = Float32Array.from({ length: patches }, (_, patch) => {
    const byLayer = layers.map((layer) => {
      return overHeads(heads.map((head) => read((layer * stack.heads + head) * patches + patch)));
    });
    const value = overLayers(byLayer);
    return fusion.clamp === "fused" ? Math.max(0, value) : value;
  });
  return { rows, cols, values: fused };
}

function layersOf(stack, fusion, chosen) {
  if (typeof chosen === "number") return [chosen];
  return fusion.presets[chosen] ?? fusion.layers;
}

/**
 * The patch at a point of the original image.
 * @param {number} x in pixels of the original, as `view` and `seen` are
 * @returns {?{row: number, col: number, value: number}} in raw units; null where the model saw nothing
 */
function valueAt(detail, map, x, y) {
  if (!map) return null;
  const [left, top, right, bottom] = detail.entry.seen;
  const row = Math.floor(((y - top) / (bottom - top)) * map.rows);
  const col = Math.floor(((x - left) / (right - left)) * map.cols);
  if (row < 0 || col < 0 || row >= map.rows || col >= map.cols) return null;
  return { row, col, value: map.values[row * map.cols + col] };
}

function mapValues(object, convert) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, convert(value)]));
}

function sumOf(values) {
  return values.reduce((sum, value) => sum + value, 0);
}

function meanOf(values) {
  return sumOf(values) / values.length;
}
