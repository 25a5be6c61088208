// Which images are listed, and in which order.

const gallery = { order: "given", part: null, reversed: false, filter: "" };
let scores = null; // place → part → row → score, read from all images when first needed
let arranging = 0;

/** Controls of the list; none for a single image. */
function galleryFields() {
  if (page.images.length < 2) return [];
  const set = (key) => (value) => {
    gallery[key] = value;
    arrange();
    syncToolbar();
  };
  const parts = page.parts.map((part) => [readable(part.key.replaceAll("|", " · ")), part.key]);
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
    checkbox(gettext("Reversed"), () => gallery.reversed, set("reversed")),
    filterField(set("filter")),
  ];
}

function orders() {
  const known = [[gettext("as given"), "given"]];
  if (page.images.some((image) => image.disagreement !== null)) {
    known.push([gettext("most disagreement first"), "disagreement"]);
  }
  known.push([gettext("by name"), "name"], [gettext("by probability of the prediction"), "probability"]);
  if (page.parts.length) known.push([gettext("by score of method A"), "score"]);
  return known;
}

function filterField(write) {
  const input = build("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  input.addEventListener("input", () => write(input.value));
  return field(build("label", { class: "field" }, build("span", {}, gettext("Name contains")), input), () => {
    if (input.value !== gallery.filter) input.value = gallery.filter;
  });
}

/** Put the articles in order and hide those that the filter leaves out. */
async function arrange() {
  const turn = ++arranging;
  const list = document.getElementById("list");
  if (gallery.order === "score" && !scores) {
    status(gettext("Reading the scores …"));
    scores = await readScores();
  }
  if (turn !== arranging) return; // another order was asked for meanwhile
  const places = sorted([...page.images.keys()]);
  list.append(...places.map((place) => document.getElementById(`image-${place}`)));
  const wanted = gallery.filter.trim().toLowerCase();
  const hits = places.filter((place) => {
    const hit = readable(page.images[place].name).toLowerCase().includes(wanted);
    document.getElementById(`image-${place}`).hidden = !hit;
    return hit;
  });
  status(gettext("{count} of {total} images", { count: hits.length, total: places.length }));
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
    name: of((image) => readable(image.name)),
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
