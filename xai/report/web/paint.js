// Relevance laid over the photograph: what the toolkit's pictures do, pixel by pixel on a canvas.

const LONGEST = 480; // pixels of a canvas's longer side, unless a width is asked for
const BRIGHTNESS = 0.85; // of the grey photograph: leaves room for the hot colours
const TRUTH = [0, 255, 217];
const CROP = [255, 255, 255];
const NO_PICTURE = "#808080";
const grounds = new WeakMap(); // detail → what lies under the colours, by size and area
const GROUNDS_KEPT = 3;

/**
 * Paint a map over its image; the photograph alone, in grey, where `map` is null.
 * @param {{area?: "view"|"seen", width?: number}} options `width` of the bitmap; else as wide as the canvas is
 */
function paintMap(canvas, detail, map, chosen = look, options = {}) {
  const ground = groundFor(canvas, detail, options);
  put(canvas, renderMap(ground, map, chosen, ground.scratch));
}

/** Paint the image in its own colours; options as for `paintMap`. */
function paintPhoto(canvas, detail, options = {}) {
  const ground = groundFor(canvas, detail, options);
  put(canvas, renderPhoto(ground, ground.scratch));
}

function put(canvas, pixels) {
  if (canvas.width !== pixels.width) canvas.width = pixels.width;
  if (canvas.height !== pixels.height) canvas.height = pixels.height;
  contextOf(canvas).putImageData(pixels, 0, 0);
}

/** Canvases are painted by pixels, which is cheaper where the processor keeps them. */
function contextOf(canvas) {
  return canvas.getContext("2d", { willReadFrequently: true });
}

function renderPhoto(ground, target = new ImageData(ground.width, ground.height)) {
  target.data.set(ground.photo);
  if (look.outlines) drawOutlines(target.data, ground);
  return target;
}

/** Paint a map into `target` (an ImageData of the ground's size) and return it. */
function renderMap(ground, map, chosen, target = new ImageData(ground.width, ground.height)) {
  target.data.set(ground.grey);
  if (map && map.limit > 0) layColours(target.data, ground, map, shades(map, chosen));
  if (chosen.outlines) drawOutlines(target.data, ground);
  return target;
}

function layColours(data, ground, { rows, cols, values, limit, signed }, shade) {
  const [down, across] = axesOf(ground, { rows, cols });
  const { first, last, low: before, share: along } = across;
  const line = new Float32Array(cols + 1); // the map between two rows of patches; the last column twice
  const low = signed ? -limit : 0;
  const levels = (LEVELS - 1) / (limit - low);
  for (let y = down.first; y < down.last; y += 1) {
    const above = down.low[y] * cols;
    const below = Math.min(above + cols, values.length - cols);
    const share = down.share[y];
    for (let col = 0; col < cols; col += 1) {
      line[col] = values[above + col] + (values[below + col] - values[above + col]) * share;
    }
    line[cols] = line[cols - 1];
    let at = 4 * (y * ground.width + first);
    for (let x = first; x < last; x += 1, at += 4) {
      const left = before[x];
      const value = line[left] + (line[left + 1] - line[left]) * along[x];
      const level = 4 * Math.max(0, Math.min(LEVELS - 1, ((value - low) * levels + 0.5) | 0));
      const kept = shade[level + 3];
      if (kept === 1) continue;
      const grey = data[at] * kept;
      data[at] = grey + shade[level];
      data[at + 1] = grey + shade[level + 1];
      data[at + 2] = grey + shade[level + 2];
    }
  }
}

/** For each row and column of pixels the patch before it and how far it lies from that patch's centre. */
function axesOf(ground, map) {
  const key = `${map.rows}x${map.cols}`;
  if (!ground.axes.has(key)) {
    const [left, top, right, bottom] = ground.area;
    const seen = ground.seen;
    ground.axes.set(key, [
      axisOf(ground.height, top, bottom, seen[1], seen[3], map.rows),
      axisOf(ground.width, left, right, seen[0], seen[2], map.cols),
    ]);
  }
  return ground.axes.get(key);
}

function axisOf(pixels, from, to, start, stop, patches) {
  const axis = { first: pixels, last: 0, low: new Int32Array(pixels), share: new Float32Array(pixels) };
  for (let i = 0; i < pixels; i += 1) {
    const place = from + ((i + 0.5) * (to - from)) / pixels;
    if (place < start || place >= stop) continue;
    axis.first = Math.min(axis.first, i);
    axis.last = i + 1;
    const position = ((place - start) / (stop - start)) * patches - 0.5;
    const inside = Math.max(0, Math.min(patches - 1, position));
    axis.low[i] = Math.max(0, Math.min(patches - 2, Math.floor(inside)));
    axis.share[i] = inside - axis.low[i];
  }
  return axis;
}

/** What is under the colours at the size that a canvas is shown in. */
function groundFor(canvas, detail, { area = "view", width }) {
  const box = area === "seen" ? detail.entry.seen : detail.entry.view;
  const size = sizeOf(box, width ?? widthFor(canvas.clientWidth, box));
  if (!grounds.has(detail)) grounds.set(detail, new Map());
  const kept = grounds.get(detail);
  const key = `${area} ${size}`;
  if (!kept.has(key)) {
    if (kept.size >= GROUNDS_KEPT) kept.delete(kept.keys().next().value);
    kept.set(key, groundOf(detail, box, ...size));
  }
  return kept.get(key);
}

/** Width of a bitmap for a box shown so many CSS pixels wide: no side longer than LONGEST. */
function widthFor(shown, [left, top, right, bottom]) {
  const [across, down] = [right - left, bottom - top];
  return Math.min(Math.round(shown * devicePixelRatio) || 320, (LONGEST * across) / Math.max(across, down));
}

function sizeOf([left, top, right, bottom], width) {
  const height = (width * (bottom - top)) / (right - left);
  return [Math.max(1, Math.round(width)), Math.max(1, Math.round(height))];
}

function groundOf(detail, area, width, height) {
  const photo = pixelsOf(detail.photo, detail.entry.view, area, width, height, NO_PICTURE);
  const ground = { width, height, area, seen: detail.entry.seen, photo, axes: new Map() };
  ground.line = Math.max(1, Math.round(Math.max(width, height) / 240));
  ground.scratch = new ImageData(width, height);
  ground.grey = greyOf(ground);
  ground.outlines = outlinesOf(detail, ground);
  return ground;
}

/** RGBA of a picture that shows the box `view`, drawn so that the box `area` fills width × height. */
function pixelsOf(picture, view, area, width, height, beyond) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = contextOf(canvas);
  context.fillStyle = beyond;
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  if (picture) {
    const [sx, sy] = [width / (area[2] - area[0]), height / (area[3] - area[1])];
    const [left, top] = [(view[0] - area[0]) * sx, (view[1] - area[1]) * sy];
    context.drawImage(picture, left, top, (view[2] - view[0]) * sx, (view[3] - view[1]) * sy);
  }
  return context.getImageData(0, 0, width, height).data;
}

/** RGBA of the photograph in grey; dimmed and hatched where the model saw nothing. */
function greyOf({ width, height, photo, area, seen, line }) {
  const grey = new Uint8ClampedArray(photo.length);
  const rows = axisOf(height, area[1], area[3], seen[1], seen[3], 1);
  const cols = axisOf(width, area[0], area[2], seen[0], seen[2], 1);
  for (let y = 0, at = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, at += 4) {
      let value = BRIGHTNESS * (0.299 * photo[at] + 0.587 * photo[at + 1] + 0.114 * photo[at + 2]);
      if (y < rows.first || y >= rows.last || x < cols.first || x >= cols.last) {
        value = 0.4 * value + 127.5;
        if ((x + y) % (7 * line) < line) value *= 0.85;
      }
      grey[at] = grey[at + 1] = grey[at + 2] = value;
      grey[at + 3] = 255;
    }
  }
  return grey;
}

/** The borders of the area known to be tampered with and of the crop: pixels to darken, pixels to colour. */
function outlinesOf(detail, ground) {
  const { width, height, area, line } = ground;
  const found = [];
  if (detail.truth) {
    const mask = pixelsOf(detail.truth, detail.entry.view, area, width, height, "#000000");
    const inside = Uint8Array.from({ length: width * height }, (_, i) => (mask[4 * i] >= 128 ? 1 : 0));
    found.push({ colour: TRUTH, ...outlineOf(inside, width, height, line) });
  }
  if (detail.entry.box) {
    const [left, top, across, down] = detail.entry.box;
    const rows = axisOf(height, area[1], area[3], top, top + down, 1);
    const cols = axisOf(width, area[0], area[2], left, left + across, 1);
    const inside = Uint8Array.from({ length: width * height }, (_, i) => {
      const [x, y] = [i % width, Math.floor(i / width)];
      return y >= rows.first && y < rows.last && x >= cols.first && x < cols.last ? 1 : 0;
    });
    found.push({ colour: CROP, ...outlineOf(inside, width, height, line) });
  }
  return found;
}

function outlineOf(inside, width, height, line) {
  const outside = inside.map((one) => 1 - one);
  const far = shrink(outside, width, height, Math.max(1, Math.floor(line / 2)), 1);
  const core = shrink(inside, width, height, line, 0);
  const [dark, bright] = [[], []];
  for (let i = 0; i < inside.length; i += 1) {
    if (outside[i] && !far[i]) dark.push(4 * i);
    if (inside[i] && !core[i]) bright.push(4 * i);
  }
  return { dark, bright };
}

/** Take `steps` pixels off an area's border; `beyond` says whether it goes on outside of the picture. */
function shrink(area, width, height, steps, beyond) {
  let kept = area;
  for (let step = 0; step < steps; step += 1) {
    kept = kept.map((one, i, before) => {
      const x = i % width;
      const left = x > 0 ? before[i - 1] : beyond;
      const right = x < width - 1 ? before[i + 1] : beyond;
      const above = i >= width ? before[i - width] : beyond;
      const below = i < before.length - width ? before[i + width] : beyond;
      return one & left & right & above & below;
    });
  }
  return kept;
}

function drawOutlines(data, ground) {
  for (const { colour, dark, bright } of ground.outlines) {
    for (const at of dark) for (let i = 0; i < 3; i += 1) data[at + i] *= 0.25;
    for (const at of bright) for (let i = 0; i < 3; i += 1) data[at + i] = colour[i];
  }
}
