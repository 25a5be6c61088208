// Which images are listed, in which order, and which of them is shown large: tiles, keys, filters.

const gallery = { order: "given", part: null, reversed: false, filter: "", verdict: null, all: false };
const THUMB = 150; // pixels of a tile's bitmap
let hits = []; // places that are listed, in order
let current = 0; // the place that is shown large
let scores = null; // place → part → row → score, read from all images when first needed
let arranging = 0;

/** The overview of several images; a single one needs none. */
function startGallery() {
  hits = [...page.images.keys()];
  if (hits.length < 2) return;
  if (matchMedia("(max-width: 40rem)").matches) document.getElementById("sorting").open = false;
  const tiles = document.getElementById("thumbs");
  tiles.addEventListener("click", (event) => {
    const tile = event.target.closest(".thumb");
    if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // in a frame a link would lead out of it
    showImage(Number(tile.dataset.place));
    bringUp();
  });
  document.getElementById("image-previous").addEventListener("click", () => stepImage(-1));
  document.getElementById("image-next").addEventListener("click", () => stepImage(1));
  document.addEventListener("keydown", stepByKey);
  window.addEventListener("hashchange", imageFromAddress);
  startThumbs(tiles);
  imageFromAddress();
  arrange();
}

function imageFromAddress() {
  const place = Number(/^#image-(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  if (!(place < page.images.length)) return;
  showImage(place);
  goToImage();
}

/** To the beginning of the image that is large, or of that one in the list. */
function goToImage() {
  document.getElementById(gallery.all ? `image-${current}` : "steps").scrollIntoView();
}

/**
 * Show an image large.
 * @param {number} place in page.images; one that is filtered out is listed again
 */
function showImage(place) {
  current = place;
  if (page.images.length < 2) return;
  if (!hits.includes(place)) {
    Object.assign(gallery, { filter: "", verdict: null });
    syncToolbar();
    arrange();
  }
  showCurrent();
}

function showCurrent() {
  for (const article of document.querySelectorAll("#list > .image")) {
    article.toggleAttribute("data-aside", !gallery.all && placeOf(article) !== current);
  }
  for (const tile of document.querySelectorAll(".thumb")) {
    if (Number(tile.dataset.place) !== current) tile.removeAttribute("aria-current");
    else if (!tile.hasAttribute("aria-current")) {
      tile.setAttribute("aria-current", "true");
      intoView(tile);
    }
  }
  const at = hits.indexOf(current);
  document.getElementById("steps").hidden = gallery.all;
  document.getElementById("image-previous").disabled = at <= 0;
  document.getElementById("image-next").disabled = at < 0 || at === hits.length - 1;
  const counted = gettext("{place} of {total}", { place: at + 1, total: hits.length });
  document.getElementById("image-place").textContent = at < 0 ? "" : counted;
}

function placeOf(article) {
  return Number(article.id.slice("image-".length));
}

/** Scroll the overview, and nothing else, until a tile is in it. */
function intoView(tile) {
  const box = document.getElementById("thumbs");
  const [outer, inner] = [box.getBoundingClientRect(), tile.getBoundingClientRect()];
  const over = (low, high, first, last) => Math.min(0, first - low) + Math.max(0, last - high);
  box.scrollTop += over(outer.top, outer.bottom, inner.top, inner.bottom);
  box.scrollLeft += over(outer.left, outer.right, inner.left, inner.right);
}

/** Where the reader has scrolled past the beginning of the image, back to it. */
function bringUp() {
  const article = document.getElementById(`image-${current}`);
  const { top } = article.getBoundingClientRect();
  if (top < 0 || top > innerHeight || gallery.all) goToImage();
}

/** The image so many steps on in the list, or null. */
function neighbour(place, step) {
  return hits[hits.indexOf(place) + step] ?? null;
}

function stepImage(step) {
  const place = neighbour(current, step);
  if (place === null) return;
  showImage(place);
  bringUp();
}

function stepByKey(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const busy = event.target.closest?.("input, select, textarea, canvas, svg, .scroll, dialog, .data-table");
  if (!step || busy || sheet.place !== null || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  stepImage(step);
}

/** Controls of the list; none for a single image. */
function galleryFields() {
  if (page.images.length < 2) return [];
  const set = (key) => (value) => {
    gallery[key] = value;
    arrange();
    syncToolbar();
  };
  const parts = page.parts.map((part) => [`${said("metrics", part.metric)} · ${said("protocols", part.protocol)}`, part.key]);
  gallery.part = page.parts[0]?.key ?? null;
  const byScore = () => gallery.order === "score";
  listen((partial) => byScore() && partial.rowA && arrange());
  return [
    chooser(gettext("Order"), null, plain(orders()), { read: () => gallery.order, write: set("order") }),
    chooser(gettext("Score of method A in"), null, plain(parts), {
      read: () => gallery.part,
      write: set("part"),
      applies: byScore,
    }),
    chooser(gettext("Judged"), null, plain(verdicts()), { read: () => gallery.verdict, write: set("verdict") }),
    filterField(set("filter")),
    checkbox(gettext("Reversed"), () => gallery.reversed, set("reversed")),
    checkbox(gettext("All below one another"), () => gallery.all, set("all")),
  ];
}

function orders() {
  const known = [[gettext("as given"), "given"], [gettext("by name"), "name"]];
  const first = page.order[0];
  if (first !== undefined) known.push([gettext("by probability of {label}", { label: readable(first) }), "first"]);
  known.push([gettext("by probability of the prediction"), "probability"]);
  if (page.images.some((image) => image.disagreement !== null)) {
    known.push([gettext("most disagreement first"), "disagreement"]);
  }
  if (page.images.some((image) => image.steadiness !== null)) {
    known.push([gettext("least stable first"), "steadiness"]);
  }
  if (page.parts.length) known.push([gettext("by score of method A"), "score"]);
  return known;
}

/** What images can be filtered by: [words with a count, [kind, label]]. */
function verdicts() {
  const counted = (title, verdict) => {
    const n = page.images.filter((image) => judgedSo(image, verdict)).length;
    return n ? [[`${title} (${n})`, verdict]] : [];
  };
  const found = [...new Set(page.images.map(({ predicted }) => predicted))];
  return [
    [gettext("anything"), null],
    ...inOrder(found).flatMap((label) => counted(readable(label), ["predicted", label])),
    ...counted(gettext("wrong"), ["wrong"]),
    ...counted(gettext("right"), ["right"]),
    ...counted(gettext("with notes"), ["noted"]),
  ];
}

function judgedSo(image, [kind, label]) {
  if (kind === "predicted") return image.predicted === label;
  if (kind === "noted") return image.notes.some(({ short }) => short) || image.caveats.length > image.notes.length;
  if (!page.labels.includes(image.label)) return false;
  return predictedLabels(image).includes(image.label) === (kind === "right");
}

function filterField(write) {
  const input = build("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => write(input.value));
  return field(build("label", { class: "field" }, build("span", {}, gettext("Name contains")), input), () => {
    if (input.value !== gallery.filter) input.value = gallery.filter;
  });
}

/** Put tiles and articles in order and hide those that the filters leave out. */
async function arrange() {
  const turn = ++arranging;
  if (gallery.order === "score" && !scores) {
    status(gettext("Reading the scores …"));
    scores = await readScores();
  }
  if (turn !== arranging) return; // another order was asked for meanwhile
  const places = sorted([...page.images.keys()]);
  const wanted = gallery.filter.trim().toLowerCase();
  hits = places.filter((place) => {
    const image = page.images[place];
    const named = readable(image.name).toLowerCase().includes(wanted);
    return named && (gallery.verdict === null || judgedSo(image, gallery.verdict));
  });
  const [list, tiles] = [document.getElementById("list"), document.getElementById("thumbs")];
  const tileOf = new Map([...tiles.children].map((item) => [Number(item.firstElementChild.dataset.place), item]));
  list.append(...places.map((place) => document.getElementById(`image-${place}`)));
  tiles.append(...places.map((place) => tileOf.get(place)));
  const listed = new Set(hits);
  for (const place of places) {
    tileOf.get(place).hidden = document.getElementById(`image-${place}`).hidden = !listed.has(place);
  }
  status(gettext("{count} of {total} images", { count: hits.length, total: places.length }));
  if (!listed.has(current) && hits.length) current = hits[0];
  showCurrent();
}

function status(text) {
  document.getElementById("list-status").textContent = text;
}

/** Places by the order chosen; those without a value come last, whichever way round. */
function sorted(places) {
  const key = keyOf();
  const keys = places.map(key);
  const way = gallery.reversed ? -1 : 1;
  return places.sort((a, b) => {
    const [one, other] = [keys[a], keys[b]];
    if (one === null || other === null) return (one === null) - (other === null) || a - b;
    const order = typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
    return way * order || a - b;
  });
}

function keyOf() {
  const of = (read) => (place) => read(page.images[place], place) ?? null;
  const negative = (value) => (value === null || value === undefined ? null : -value);
  return {
    given: (place) => place,
    disagreement: of((image) => negative(image.disagreement)),
    steadiness: of((image) => image.steadiness),
    name: of((image) => readable(image.name)),
    first: of((image) => negative(image.probabilities[page.order[0]])),
    probability: of((image) => negative(image.probabilities[image.predicted])),
    score: (place) => scores[place][gallery.part]?.[look.rowA] ?? null,
  }[gallery.order];
}

/** Scores of all images; everything else of those out of view is dropped again. */
async function readScores() {
  const found = [];
  for (const place of page.images.keys()) found.push(JSON.parse(await unpack(`data-image-${place}`)).scores);
  return found;
}
