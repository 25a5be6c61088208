// What the page holds: the head is unpacked at once, each image when it is asked for.

let page = null; // the head: every field of the payload but the heavy ones of its images
const details = new Map(); // place of an image → promise of its heavy fields

async function loadPage() {
  page = JSON.parse(await unpack("data-page"));
}

/**
 * The heavy fields of an image, decoded.
 * @param {number} place in page.images
 * @returns {Promise<object>} the payload's fields, and: `place`, `entry` (its light fields), `photo` and
 *   `truth` (decoded <img> elements of picture and mask, or null)
 */
function detail(place) {
  if (!details.has(place)) details.set(place, readDetail(place));
  return details.get(place);
}

async function readDetail(place) {
  const found = JSON.parse(await unpack(`data-image-${place}`));
  const picture = document.getElementById(`data-picture-${place}`).textContent.trim();
  const [photo, truth] = await Promise.all([decodePicture(picture), decodePicture(found.mask)]);
  return { ...found, place, entry: page.images[place], photo, truth };
}

async function decodePicture(uri) {
  if (!uri) return null;
  const image = new Image();
  image.src = uri;
  await image.decode();
  return image;
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
}

/** A Grid of the payload as {rows, cols, values: Float32Array, relativeRange}. */
function decodeGrid(grid) {
  const codes = new DataView(bytesOf(grid.values));
  const values = Float32Array.from({ length: grid.rows * grid.cols }, (_, i) => {
    return (codes.getInt16(2 * i, true) / 32767) * grid.limit;
  });
  return { rows: grid.rows, cols: grid.cols, values, relativeRange: grid.relative_range };
}

/** A Stack of the payload as {layers, heads, rows, cols, values: Float32Array}. */
function decodeStack(stack) {
  const values = Float32Array.from(new Int8Array(bytesOf(stack.values)), (q) => (q / 127) * stack.limit);
  return { ...stack, values };
}

/** The order in which patches are removed: Uint16Array of patch indices. */
function decodeOrder(text) {
  const codes = new DataView(bytesOf(text));
  return Uint16Array.from({ length: codes.byteLength / 2 }, (_, i) => codes.getUint16(2 * i, true));
}
