// The image to paint on: patches are taken away and put back, by pointer and by keyboard.

const regions = new Map(); // id → {cells, before, answer, compared, target}
const VEIL = "rgb(20 20 24 / .82)";
const UNSEEN = "rgb(128 128 128 / .6)";
const EDGE = "rgb(255 255 255 / .9)";
let cursor = null; // [row, column] of the keyboard's place
let stroke = null; // the pointer's last place while it is down

/** What was taken away of the image that is worked on. */
function region() {
  if (!regions.has(current)) regions.set(current, { cells: new Set(), before: [], answer: null, compared: null });
  return regions.get(current);
}

function startBrush() {
  const canvas = document.getElementById("canvas");
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    remember();
    stroke = [event.offsetX, event.offsetY];
    strokeTo(event);
  });
  canvas.addEventListener("pointermove", (event) => stroke && strokeTo(event));
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => (stroke = null));
  canvas.addEventListener("keydown", brushByKey);
  canvas.addEventListener("blur", () => {
    cursor = null;
    drawBrush();
  });
  document.getElementById("undo").addEventListener("click", () => {
    const { before } = region();
    if (before.length) region().cells = before.pop();
    changed();
  });
  document.getElementById("clear").addEventListener("click", () => setRegion([]));
  document.getElementById("under").addEventListener("change", drawBrush);
  document.getElementById("target").addEventListener("change", () => {
    region().compared = null;
    changed();
  });
}

/** Show the image that was chosen, with what was taken away of it. */
function showBrush() {
  const { entry } = held.get(current);
  const target = document.getElementById("target");
  const labels = Object.keys(entry.probabilities);
  const before = target.value;
  target.replaceChildren(...labels.map((label) => build("option", { value: label }, readable(label))));
  target.value = labels.includes(before) ? before : entry.predicted;
  const canvas = document.getElementById("canvas");
  canvas.setAttribute("aria-label", gettext("{name}, to paint on", { name: readable(entry.name) }));
  syncUnder();
  drawBrush();
  showScore();
}

/** What can lie under the brush: the photograph, or a map. */
function syncUnder() {
  const under = document.getElementById("under");
  const { maps } = held.get(current);
  const before = under.value;
  const groups = Object.entries(maps).map(([key, labels]) => {
    const options = Object.keys(labels).map((label) => build("option", { value: JSON.stringify([key, label]) }, gettext("{label}, {method}", { label: readable(label), method: methodWords(key) })));
    return build("optgroup", { label: methodWords(key) }, options);
  });
  under.replaceChildren(build("option", { value: "" }, gettext("the image")), ...groups);
  under.value = [...under.options].some((option) => option.value === before) ? before : "";
}

function drawBrush() {
  if (current === null) return;
  const detail = held.get(current);
  const canvas = document.getElementById("canvas");
  const under = document.getElementById("under").value;
  const [key, label] = under ? JSON.parse(under) : [];
  if (key && detail.maps[key]?.[label]) paintMap(canvas, detail, mapFor(detail, key, label), look, { width: 480 });
  else paintPhoto(canvas, detail, { width: 480 });
  const context = contextOf(canvas);
  dimUnseen(context, canvas, detail);
  context.lineWidth = Math.max(1, canvas.width / 320);
  for (const cell of region().cells) {
    const box = boxOf(cell, canvas, detail);
    context.fillStyle = VEIL;
    context.fillRect(...box);
  }
  context.strokeStyle = EDGE;
  for (const cell of region().cells) drawEdges(context, cell, canvas, detail);
  if (cursor) {
    context.strokeStyle = "#fff";
    context.lineWidth = 3;
    const [, cols] = detail.entry.grid;
    context.strokeRect(...boxOf(cursor[0] * cols + cursor[1], canvas, detail));
  }
}

/** Grey over what the model does not see, where there is nothing to take away. */
function dimUnseen(context, canvas, { entry: { view, seen } }) {
  const across = canvas.width / (view[2] - view[0]);
  const down = canvas.height / (view[3] - view[1]);
  const [left, top] = [(seen[0] - view[0]) * across, (seen[1] - view[1]) * down];
  context.fillStyle = UNSEEN;
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(left, top, (seen[2] - seen[0]) * across, (seen[3] - seen[1]) * down);
  context.fill("evenodd");
}

/** Where a patch lies on the canvas: left, top, width, height. */
function boxOf(cell, canvas, { entry: { view, seen, grid } }) {
  const [rows, cols] = grid;
  const across = canvas.width / (view[2] - view[0]);
  const down = canvas.height / (view[3] - view[1]);
  const [width, height] = [((seen[2] - seen[0]) / cols) * across, ((seen[3] - seen[1]) / rows) * down];
  const left = (seen[0] - view[0]) * across + (cell % cols) * width;
  const top = (seen[1] - view[1]) * down + Math.floor(cell / cols) * height;
  const [x, y] = [Math.round(left), Math.round(top)];
  return [x, y, Math.round(left + width) - x, Math.round(top + height) - y];
}

/** Lines where a region ends. */
function drawEdges(context, cell, canvas, detail) {
  const [rows, cols] = detail.entry.grid;
  const [left, top, width, height] = boxOf(cell, canvas, detail);
  const [row, col] = [Math.floor(cell / cols), cell % cols];
  const gone = (r, c) => r >= 0 && c >= 0 && r < rows && c < cols && region().cells.has(r * cols + c);
  context.beginPath();
  const line = (x1, y1, x2, y2) => (context.moveTo(x1, y1), context.lineTo(x2, y2));
  if (!gone(row - 1, col)) line(left, top, left + width, top);
  if (!gone(row + 1, col)) line(left, top + height, left + width, top + height);
  if (!gone(row, col - 1)) line(left, top, left, top + height);
  if (!gone(row, col + 1)) line(left + width, top, left + width, top + height);
  context.stroke();
}

/** The patch at a place of the canvas, in CSS pixels; null where the model saw nothing. */
function patchAt(x, y) {
  const canvas = document.getElementById("canvas");
  const { view, seen, grid } = held.get(current).entry;
  const px = view[0] + (x / canvas.clientWidth) * (view[2] - view[0]);
  const py = view[1] + (y / canvas.clientHeight) * (view[3] - view[1]);
  const col = Math.floor(((px - seen[0]) / (seen[2] - seen[0])) * grid[1]);
  const row = Math.floor(((py - seen[1]) / (seen[3] - seen[1])) * grid[0]);
  return row < 0 || col < 0 || row >= grid[0] || col >= grid[1] ? null : [row, col];
}

/** Paint along the way from the pointer's last place, so that fast strokes have no gaps. */
function strokeTo(event) {
  const [x, y] = [event.offsetX, event.offsetY];
  const steps = Math.max(1, Math.ceil(Math.hypot(x - stroke[0], y - stroke[1]) / 4));
  let any = false;
  for (let step = 1; step <= steps; step += 1) {
    const place = patchAt(stroke[0] + ((x - stroke[0]) * step) / steps, stroke[1] + ((y - stroke[1]) * step) / steps);
    any = (place && paintAt(place)) || any;
  }
  stroke = [x, y];
  if (any) changed();
}

const chosenOf = (name) => document.querySelector(`input[name=${name}]:checked`).value;

/** Take patches around one away, or put them back; whether that changed something. */
function paintAt([row, col]) {
  const [rows, cols] = held.get(current).entry.grid;
  const reach = (Number(chosenOf("width")) - 1) / 2;
  const { cells } = region();
  const before = cells.size;
  for (let r = Math.max(0, row - reach); r <= Math.min(rows - 1, row + reach); r += 1) {
    for (let c = Math.max(0, col - reach); c <= Math.min(cols - 1, col + reach); c += 1) {
      if (chosenOf("mode") === "remove") cells.add(r * cols + c);
      else cells.delete(r * cols + c);
    }
  }
  return cells.size !== before;
}

const BRUSH_STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function brushByKey(event) {
  const [rows, cols] = held.get(current).entry.grid;
  const step = BRUSH_STEPS[event.key];
  if (!step && event.key !== " ") return;
  event.preventDefault();
  if (!cursor) cursor = [Math.floor(rows / 2), Math.floor(cols / 2)];
  else if (step) cursor = [Math.min(rows - 1, Math.max(0, cursor[0] + step[0])), Math.min(cols - 1, Math.max(0, cursor[1] + step[1]))];
  if (event.key === " ") {
    remember();
    if (paintAt(cursor)) changed();
  }
  const gone = region().cells.has(cursor[0] * cols + cursor[1]);
  const place = { row: cursor[0] + 1, column: cursor[1] + 1 };
  document.getElementById("where").textContent = gone
    ? gettext("row {row}, column {column}: removed", place)
    : gettext("row {row}, column {column}", place);
  drawBrush();
}

function remember() {
  const { before, cells } = region();
  before.push(new Set(cells));
  if (before.length > 50) before.shift();
}

/** Take exactly these patches away. */
function setRegion(cells) {
  remember();
  region().cells = new Set(cells);
  changed();
}

function changed() {
  region().compared = null;
  drawBrush();
  showScore();
  askScore();
}
