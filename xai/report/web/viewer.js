// The list of images: only what is in view is decoded and painted, what was left long ago is dropped.

const KEPT = 60; // images that keep their data and canvases
const views = new Map(); // place → view; the least recently seen first
const visible = new Set(); // places in view, as the observer says
const waiting = new Set(); // places to be painted with the next frame
let frame = 0;

async function startViewer() {
  const first = page.fusion && page.images.length ? await detail(0) : null;
  startToolbar(first && firstStack(first));
  startGallery();
  const observer = new IntersectionObserver(seen, { rootMargin: "300px 0px" });
  document.querySelectorAll("#list > .image").forEach((article) => observer.observe(article));
  listen(() => repaint());
  new ResizeObserver(() => repaint()).observe(document.getElementById("list"));
}

function firstStack({ products }) {
  const stack = Object.values(products)[0];
  return stack && { layers: stack.layers, heads: stack.heads };
}

function seen(entries) {
  for (const { target, isIntersecting } of entries) {
    const place = Number(target.id.slice("image-".length));
    if (isIntersecting) enter(place, target);
    else visible.delete(place);
  }
}

async function enter(place, article) {
  visible.add(place);
  const view = views.get(place) ?? { place, article, stage: article.querySelector(".stage"), wipe: 0.5 };
  views.delete(place);
  views.set(place, view);
  dropOldest();
  try {
    view.detail ??= await detail(place);
  } catch (error) {
    view.stage.replaceChildren(build("p", {}, gettext("The data of this image could not be read.")));
    throw error;
  }
  if (visible.has(place)) repaint([place]);
}

function dropOldest() {
  for (const [place, view] of views) {
    if (views.size <= KEPT) return;
    if (visible.has(place)) continue;
    release(view);
    views.delete(place);
    details.delete(place);
  }
}

/** Chromium keeps what is taken out of an article that it does not render: the pixels are given up by hand. */
function release({ stage, detail }) {
  for (const canvas of stage.querySelectorAll("canvas")) canvas.width = canvas.height = 0;
  stage.replaceChildren();
  grounds.delete(detail);
}

/** Paint with the next frame, however often it is asked for. */
function repaint(places = visible) {
  for (const place of places) waiting.add(place);
  frame ||= requestAnimationFrame(paintWaiting);
}

function paintWaiting() {
  frame = 0;
  const places = [...waiting].filter((place) => visible.has(place) && views.get(place)?.detail);
  waiting.clear();
  const ready = places.map((place) => arrangeStage(views.get(place)));
  // all widths are read before anything is painted: one layout for all
  for (const { view } of ready) view.width = view.figures[0].canvas.clientWidth;
  for (const { view, panels } of ready) (look.view === "wipe" ? paintWipe : paintSide)(view, panels);
}

/** Make the figures that the view needs, if they are not there already. */
function arrangeStage(view) {
  const wiping = look.view === "wipe";
  const panels = wiping ? wipeOf(view.detail) : panelsOf(view.detail);
  const shape = `${look.view} ${wiping ? "" : panels.length}`;
  if (view.shape !== shape) {
    view.shape = shape;
    view.figures = wiping ? [wipeFigure(view.detail)] : panels.map((panel) => panelFigure(view.detail, !panel.photo));
    view.stage.className = `stage ${wiping ? "wipe" : panels.length < 6 ? "few" : ""}`;
    view.stage.replaceChildren(...view.figures.map((one) => one.root));
    for (const one of view.figures) listenToPointer(view, one);
    if (wiping) listenToWipe(view, view.figures[0]);
  }
  view.panels = panels;
  return { view, panels };
}

function paintSide(view, panels) {
  const options = { width: widthFor(view.width, view.detail.entry.view) };
  panels.forEach((panel, i) => {
    const { canvas, show } = view.figures[i];
    if (panel.photo) paintPhoto(canvas, view.detail, options);
    else paintMap(canvas, view.detail, panel.map, look, options);
    show(panel);
  });
}

function paintWipe(view, panels) {
  const { canvas, show } = view.figures[0];
  const ground = groundFor(canvas, view.detail, { width: widthFor(view.width, view.detail.entry.view) });
  view.sides = panels.map((panel) => (panel.photo ? renderPhoto(ground) : renderMap(ground, panel.map, look)));
  show(panels);
  wipe(view, view.wipe);
}

/** Show the left picture up to a share of the width, the right one from there on. */
function wipe(view, part) {
  view.wipe = Math.max(0, Math.min(1, part));
  const { canvas, range, place } = view.figures[0];
  const [left, right] = view.sides;
  put(canvas, left);
  const from = Math.round(view.wipe * right.width);
  contextOf(canvas).putImageData(right, 0, 0, from, 0, right.width - from, right.height);
  range.value = Math.round(100 * view.wipe);
  place(view.wipe);
}

function listenToWipe(view, { canvas, range }) {
  range.addEventListener("input", () => wipe(view, Number(range.value) / 100));
  const drag = (event) => {
    if (event.buttons !== 1) return;
    const box = canvas.getBoundingClientRect();
    wipe(view, (event.clientX - box.left) / box.width);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag(event);
  });
  canvas.addEventListener("pointermove", drag);
}

/** Read the value under the pointer, or of the patch that the arrow keys choose. */
function listenToPointer(view, one) {
  const { canvas } = one;
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const [left, top, right, bottom] = view.detail.entry.view;
    const x = left + ((event.clientX - box.left) / box.width) * (right - left);
    const y = top + ((event.clientY - box.top) / box.height) * (bottom - top);
    readOut(view, x, y);
  });
  canvas.addEventListener("pointerleave", () => clearReadOut(view));
  canvas.addEventListener("blur", () => clearReadOut(view));
  canvas.addEventListener("keydown", (event) => moveByKey(view, one, event));
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function moveByKey(view, one, event) {
  if (event.key === "Escape") clearReadOut(view);
  const step = STEPS[event.key];
  const shown = look.view === "wipe" ? view.panels : [view.panels[view.figures.indexOf(one)]];
  const map = shown.find((panel) => panel.map)?.map;
  if (!step || !map || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const from = view.patch;
  const row = from ? Math.max(0, Math.min(map.rows - 1, from.row + step[0])) : peakOf(map).row;
  const col = from ? Math.max(0, Math.min(map.cols - 1, from.col + step[1])) : peakOf(map).col;
  const [left, top, right, bottom] = view.detail.entry.seen;
  readOut(view, left + ((col + 0.5) / map.cols) * (right - left), top + ((row + 0.5) / map.rows) * (bottom - top));
}

/** Say what the maps hold at a point of the original image, and mark the patch in each. */
function readOut(view, x, y) {
  const found = view.panels.map((panel) => valueAt(view.detail, panel.map, x, y));
  const first = found.findIndex(Boolean);
  view.patch = first < 0 ? null : found[first];
  view.figures.forEach((one, i) => {
    const at = look.view === "wipe" ? first : found[i] ? i : first;
    mark(one.marker, view.detail, view.panels[at]?.map, found[at]);
  });
  const line = view.article.querySelector(".readout");
  if (first < 0) {
    write(line, view.panels.some((panel) => panel.map) ? gettext("not seen by the model") : "");
    return;
  }
  const { rows, cols } = view.panels[first].map;
  const values = found.flatMap((one, i) => (one ? `${nameOf(view.panels[i])}: ${numberText(one.value, 4)}` : []));
  const { row, col } = found[first];
  const place = gettext("patch row {row} of {rows}, column {column} of {columns}", {
    ...{ row: row + 1, rows, column: col + 1, columns: cols },
  });
  write(line, [place, ...values].join(" · "));
}

/** A panel's name without the probability. */
function nameOf({ label, row }) {
  const byClass = page.kind === "explanation" && (look.view !== "wipe" || look.rowA === look.rowB);
  return byClass ? labelName(label) : rowWords(row);
}

function clearReadOut(view) {
  view.patch = null;
  write(view.article.querySelector(".readout"), "");
  for (const { marker } of view.figures) marker.hidden = true;
}

/** Frame a patch, in shares of what the picture shows. */
function mark(marker, detail, map, patch) {
  marker.hidden = !patch;
  if (!patch) return;
  const [left, top, right, bottom] = detail.entry.view;
  const [x, y, x2, y2] = detail.entry.seen;
  const [width, height] = [(x2 - x) / map.cols, (y2 - y) / map.rows];
  marker.style.left = `${(100 * (x + patch.col * width - left)) / (right - left)}%`;
  marker.style.top = `${(100 * (y + patch.row * height - top)) / (bottom - top)}%`;
  marker.style.width = `${(100 * width) / (right - left)}%`;
  marker.style.height = `${(100 * height) / (bottom - top)}%`;
}
