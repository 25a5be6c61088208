// Colours of relevance, and numbers in words.

const UNSIGNED = ["inferno", "viridis", "cividis"]; // what a reader may choose from
const DIVERGING = "blue-orange";
const tables = new Map();

/** 256 RGB colours of a colour map of the page: Uint8Array(768). */
function lut(name) {
  if (!tables.has(name)) tables.set(name, Uint8Array.from(atob(COLOURS[name]), (c) => c.charCodeAt(0)));
  return tables.get(name);
}

/** Name of the colour map for a map: signed ones diverge, whatever was chosen. */
function coloursOf(map, look) {
  return map.signed ? DIVERGING : look.colours;
}

const LEVELS = 8192; // steps of a scale
const shadesKept = new Map();

/**
 * What each of LEVELS steps of a map's scale looks like: red, green and blue times opacity, and the share of
 * the photograph that is left. The scale goes from 0, or −limit if signed, to limit.
 */
function shades(map, look) {
  const key = JSON.stringify([map.signed, look.colours, look.sign, look.opacity, look.threshold]);
  if (shadesKept.size > 8) shadesKept.clear();
  if (!shadesKept.has(key)) shadesKept.set(key, shadesOf(map, look));
  return shadesKept.get(key);
}

function shadesOf(map, look) {
  const colours = lut(coloursOf(map, look));
  const shade = new Float32Array(4 * LEVELS);
  for (let level = 0; level < LEVELS; level += 1) {
    const opacity = look.opacity * opacityOf(relativeOf(level, map), look);
    const colour = 3 * Math.min(255, Math.floor((256 * level) / (LEVELS - 1)));
    for (let i = 0; i < 3; i += 1) shade[4 * level + i] = opacity * colours[colour + i];
    shade[4 * level + 3] = 1 - opacity;
  }
  return shade;
}

/** The value of a level as a share of the limit, in [−1, 1]. */
function relativeOf(level, map) {
  const share = level / (LEVELS - 1);
  return map.signed ? 2 * share - 1 : share;
}

/** Flat at 0, so that noise leaves no trace, then steep: a quarter of the scale is half opaque. */
function opacityOf(relative, look) {
  return shown(relative, look) ? 1 - (1 - Math.abs(relative) ** 1.25) ** 4 : 0;
}

/** Whether sign and threshold leave a value (a share of the limit) in the picture. */
function shown(relative, look) {
  if (look.sign === "positive" && relative <= 0) return false;
  if (look.sign === "negative" && relative >= 0) return false;
  return Math.abs(relative) > look.threshold;
}

/** Paint the colours of a map's scale from end to end; what is hidden is grey. */
function paintBar(canvas, map, look) {
  canvas.width = 256;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(256, 1);
  const colours = lut(coloursOf(map, look));
  for (let i = 0; i < 256; i += 1) {
    const relative = relativeOf((i / 255) * (LEVELS - 1), map);
    const hidden = relative !== 0 && !shown(relative, look);
    const colour = hidden ? [136, 136, 136] : colours.subarray(3 * i, 3 * i + 3);
    pixels.data.set([...colour, 255], 4 * i);
  }
  context.putImageData(pixels, 0, 0);
}

/** A number with so many digits and a power of ten where it is needed: 0.0123, −1.2×10⁻⁵. */
function numberText(value, digits = 3) {
  if (value === 0) return "0";
  const small = Math.abs(value) < 1e-4 || Math.abs(value) >= 10 ** digits;
  const [mantissa, power] = (small ? value.toExponential(digits - 1) : value.toPrecision(digits)).split("e");
  const plain = (mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa).replace("-", "−");
  if (!power || Number(power) === 0) return plain;
  return `${plain}×10${[...String(Number(power))].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("")}`;
}

/** A share in percent with one decimal; never 0 or 100 % unless it is exactly that. */
function percentText(share) {
  if (share > 0 && share < 0.001) return "<0.1%";
  if (share < 1 && share > 0.999) return ">99.9%";
  return share === 0 || share === 1 ? `${100 * share}%` : `${(100 * share).toFixed(1)}%`;
}
