// The evidence sheet: one image with all that was found about it, on screen and on paper.

const sheet = { place: null, opener: null, turn: 0 };

function startSheet() {
  const dialog = document.getElementById("sheet");
  const on = (id, event, act) => document.getElementById(id).addEventListener(event, act);
  on("sheet-previous", "click", () => turnSheet(-1));
  on("sheet-next", "click", () => turnSheet(1));
  on("sheet-close", "click", () => dialog.close());
  on("sheet-print", "click", () => window.print());
  dialog.addEventListener("close", leaveSheet);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // the backdrop
  document.addEventListener("keydown", turnByKey);
  dialog.addEventListener("click", leadWithin);
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(".open-sheet");
    if (button) openSheet(Number(button.dataset.place));
  });
  window.addEventListener("hashchange", sheetFromAddress);
  startPaper();
  return sheetFromAddress();
}

/** From a row's name to how its maps were made; the address goes on naming the sheet. */
function leadWithin(event) {
  const link = event.target.closest?.("a.row-name");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const made = document.getElementById(link.hash.slice(1));
  made?.scrollIntoView({ block: "center" });
  made?.focus({ preventScroll: true });
}

function sheetFromAddress() {
  const place = Number(/^#sheet-(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  return place < page.images.length && place !== sheet.place ? openSheet(place) : null;
}

/**
 * Show the evidence sheet of an image.
 * @param {number} place in page.images
 * @returns {Promise<void>} fulfilled when it is drawn
 */
async function openSheet(place) {
  const dialog = document.getElementById("sheet");
  if (!dialog.open) {
    sheet.opener = document.activeElement;
    dialog.showModal();
  }
  sheet.place = place;
  address(`#sheet-${place}`);
  const turn = ++sheet.turn;
  showImage(place);
  offer("sheet-previous", neighbour(place, -1) !== null);
  offer("sheet-next", neighbour(place, 1) !== null);
  const found = await detail(place);
  if (turn !== sheet.turn) return; // another image was asked for meanwhile
  const content = document.getElementById("sheet-content");
  content.replaceChildren(...sheetParts(found));
  content.dataset.place = place;
  dialog.scrollTop = 0;
  const name = readable(page.images[place].name);
  document.getElementById("sheet-place").textContent = gettext("{place} of {total}: {name}", {
    ...{ place: hits.indexOf(place) + 1, total: hits.length, name },
  });
}

/** A button that is of no use any more hands its focus on. */
function offer(id, useful) {
  const button = document.getElementById(id);
  if (!useful && button === document.activeElement) document.getElementById("sheet-close").focus();
  button.disabled = !useful;
}

function turnSheet(step) {
  const place = neighbour(sheet.place, step);
  if (place !== null) openSheet(place);
}

function turnByKey(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const busy = event.target.closest?.("input, select, textarea, .scroll, svg");
  if (!step || sheet.place === null || busy || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  turnSheet(step);
}

function leaveSheet() {
  const { opener, place } = sheet;
  const fallback = document.querySelector(`#image-${place} .open-sheet`);
  Object.assign(sheet, { place: null, opener: null, turn: sheet.turn + 1 });
  address("");
  const back = opener?.checkVisibility?.() && opener !== document.body ? opener : fallback;
  back?.focus();
}

/** The address names the sheet that is open, so that it can be linked to. */
function address(hash) {
  try {
    history.replaceState(history.state, "", hash || location.pathname + location.search);
  } catch {
    // some viewers of local files forbid it; the sheet works without
  }
}

function sheetParts(found) {
  const maps = sheetMaps(found);
  const explorer = build("section", { class: "explorer" });
  return [
    build("p", { class: "sheet-kicker" }, gettext("Evidence sheet · {title}", { title: readable(page.title) })),
    build("h2", { id: "sheet-title" }, readable(found.entry.name)),
    caveatPart(found.entry),
    imagePart(found),
    sheetSection(
      maps.length > 1 ? gettext("Maps") : gettext("Map"),
      build("div", { class: maps.length > 4 ? "sheet-maps" : "sheet-maps few" }, ...maps),
      build("p", { class: "small muted" }, mapsLegend(found)),
    ),
    localisationSection(found),
    removalSection(found),
    facePartsSection(found),
    stabilitySection(found),
    startExplorer(explorer, found) ? explorer : null,
    agreementSection(found),
    scoreSection(found),
    methodsPart(found),
    limitsPart(found),
  ].filter(Boolean);
}

function caveatPart({ caveats }) {
  if (!caveats.length) return null;
  return build("ul", { class: "caveats" }, ...caveats.map((text) => build("li", {}, readable(text))));
}

function imagePart(found) {
  const canvas = build("canvas", { role: "img", "aria-label": gettext("The image {name}", { name: readable(found.entry.name) }) });
  paintPhoto(canvas, found, { area: "view", width: 480, outlines: true });
  const photo = build("figure", {}, canvas, build("figcaption", {}, photoWords(found)));
  const beside = build("div", {}, predictionTable(found.entry), descriptionList(found.entry));
  return build("div", { class: "sheet-image" }, build("div", {}, photo, photographPart(found)), beside);
}

/** The photograph that a face was cut out of. */
function photographPart({ photograph }) {
  if (!photograph) return null;
  const { picture, number, width, height } = photograph;
  const words = gettext("Cut out, and turned upright, of a photograph of {width} × {height} px: face {number}. White outline: the crop.", {
    ...{ width, height, number },
  });
  return build("figure", { class: "photograph" }, build("img", { src: picture, alt: words }), build("figcaption", {}, words));
}

function photoWords({ entry, photo, truth }) {
  const sentences = [photo ? gettext("The image.") : gettext("The run kept no pictures.")];
  if (entry.box) sentences.push(gettext("White outline: the crop that the model was given."));
  if (truth) sentences.push(gettext("Turquoise outline: the area known to be tampered with."));
  return joined(sentences);
}

/** Several of independent labels can be predicted, or none. */
function predictedLabels({ predicted, predicted_labels: found }) {
  return page.problem_type === "multi_label_classification" && found ? found : [predicted];
}

function predictionTable(entry) {
  const { probabilities, label } = entry;
  const predicted = predictedLabels(entry);
  const byShare = Object.keys(probabilities).sort((a, b) => probabilities[b] - probabilities[a]);
  const lines = inOrder(byShare)
    .map((name) => [name, probabilities[name]])
    .map(([name, value]) => {
      const marks = [
        predicted.includes(name) ? gettext("predicted") : null,
        name === label ? gettext("true class") : null,
      ];
      const cell = build("td", { class: "number" }, datum(value, percentText));
      return [readable(name), cell, marks.filter(Boolean).join(gettext(", "))];
    });
  const truth =
    label === null
      ? gettext("the true class is not known")
      : gettext("true class: {label}", { label: readable(label) });
  const independent = page.problem_type === "multi_label_classification";
  const caption = independent
    ? gettext("Probabilities of independent labels; {truth}", { truth })
    : gettext("Probabilities; {truth}", { truth });
  const headings = [gettext("Class"), gettext("Probability"), gettext("Note")];
  return sheetTable(caption, headings, lines, "answers");
}

function descriptionList(entry) {
  const { words, whole } = seenBox(entry);
  return describedBy([
    [gettext("Image"), entry.id === entry.name ? null : entry.id],
    [gettext("Group"), entry.group],
    [gettext("Size"), `${entry.width} × ${entry.height} px`],
    [gettext("Crop explained"), entry.box && boxWords(entry.box)],
    [gettext("Seen by the model"), whole ? gettext("the whole image") : words],
    [gettext("Class followed"), entry.target],
    [gettext("SHA-256 of the file"), entry.sha256],
    [gettext("Digest of the model's input"), entry.input_hash],
    [gettext("Model"), page.model.name],
    [gettext("Digest of the model"), page.model.fingerprint],
  ]);
}

/** A list of names and values, those without a value left out. */
function describedBy(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined);
  const digest = (text) => (/^[0-9a-f]{12,}$/.test(text) ? "mono" : null);
  const items = known.flatMap(([name, value]) => {
    const text = plainWords(value);
    return [build("dt", {}, readable(name)), build("dd", { class: digest(text) }, text)];
  });
  return build("dl", { class: "facts" }, ...items);
}

function boxWords(box) {
  const [x, y, width, height] = box.map((length) => numberText(length, 4));
  return gettext("{width} × {height} px from ({x}, {y})", { width, height, x, y });
}

function seenBox({ seen, width, height }) {
  const [left, top, right, bottom] = seen;
  const whole = left <= 0 && top <= 0 && right >= width && bottom >= height;
  return { words: boxWords([left, top, right - left, bottom - top]), whole };
}

/** Any value of a mapping as text. */
function plainWords(value) {
  if (Array.isArray(value)) return value.map(plainWords).join(", ") || pgettext("value", "none");
  if (value !== null && typeof value === "object") {
    const inside = Object.entries(value).map(([key, inner]) => `${readable(key)} ${plainWords(inner)}`);
    return inside.join(", ") || pgettext("value", "none");
  }
  return typeof value === "number" ? String(value) : readable(String(value));
}

/** The maps as they were recorded: neither sign, threshold, layers nor heads of the viewer count here. */
function sheetMaps(found) {
  const asRecorded = { sign: "both", threshold: 0, layers: AS_EXPLAINED, head: AS_EXPLAINED, outlines: true };
  const recorded = { ...look, ...asRecorded };
  return page.rows
    .filter(({ name }) => found.maps[name])
    .flatMap(({ name, control }) =>
      sheetLabels(found, name).map((label) => {
        const map = mapFor(found, name, label, recorded);
        return map && mapFigure(found, map, { name, control, label }, recorded);
      }),
    )
    .filter(Boolean);
}

/** Explanations show every class and their difference; elsewhere one class stands for all maps of a row. */
function sheetLabels(found, row) {
  const known = classesOf(found, row);
  if (page.kind === "explanation") return page.compared ? [...known, DIFFERENCE] : known;
  const wanted = [look.own ? null : look.label, found.entry.target, found.entry.predicted];
  return [wanted.find((label) => known.includes(label)) ?? known[0]];
}

function mapFigure(found, map, { name, control, label }, recorded) {
  const subject =
    label === DIFFERENCE ? `${readable(page.compared[0])} − ${readable(page.compared[1])}` : readable(label);
  const peak = map.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const canvas = build("canvas", {
    role: "img",
    "aria-label": gettext("Map of {method} for {subject}; strongest patch {peak}", {
      ...{ method: rowWords(name), subject, peak: numberText(peak) },
    }),
  });
  paintMap(canvas, found, map, recorded, { width: 480 });
  const only = page.kind === "explanation" && page.rows.length === 1;
  return build(
    "figure",
    { "data-row": name, "data-label": label },
    canvas,
    colourBar(map, recorded, label),
    build(
      "figcaption",
      {},
      build("strong", {}, only ? subject : namedRow(name)),
      only ? null : gettext("for {subject}", { subject }),
      control ? build("span", { class: "tag" }, gettext("control")) : null,
      peak === 0 ? ` ${gettext("No evidence: the map is zero.")}` : null,
      constantWords(map) ? build("span", {}, ` ${constantWords(map)}`) : null,
    ),
  );
}

function colourBar(map, recorded, label) {
  const canvas = build("canvas", { class: "bar", "aria-hidden": "true" });
  paintBar(canvas, map, recorded);
  const ends = map.signed ? [-map.limit, 0, map.limit] : [0, map.limit];
  const meaning = endsOf(map, label).map((text) => build("span", {}, text));
  return build(
    "div",
    {},
    canvas,
    build("div", { class: "ticks" }, ...ends.map((end) => datum(end))),
    build("div", { class: "ends" }, ...meaning),
  );
}

function mapsLegend(found) {
  const grids = Object.values(found.maps).flatMap((byClass) => Object.values(byClass));
  const sizes = [...new Set(grids.map(({ rows, cols }) => `${rows} × ${cols}`))];
  const sentences = [
    gettext("Relevance on {sizes} patches, in the method's own units, over the original image.", {
      sizes: listed(sizes),
    }),
    gettext("Bars give the scale of each map; two-sided ones are blue against the class and orange for it."),
  ];
  if (!seenBox(found.entry).whole) sentences.push(gettext("Dimmed and hatched: not seen by the model."));
  return joined(sentences);
}

function methodsPart(found) {
  const cards = new Map(page.cards.map((card) => [card.method, card]));
  const rows = page.rows.filter(({ name }) => found.maps[name]);
  const lines = rows.map(({ name, method, options, preset }) => {
    const seen = Object.entries(options).filter(([key, value]) => value !== null && !UNSEEN_OPTIONS.includes(key));
    const set = seen.map(([key, value]) => build("code", { class: "setting" }, named(`${key} ${plainWords(value)}`)));
    const { summary, reference } = cards.get(method) ?? {};
    const made = namedTwice("rows", name);
    Object.assign(made, { id: `made-${page.rows.findIndex((row) => row.name === name)}`, tabIndex: -1 });
    return [
      made,
      preset ? build("span", {}, gettext("preset {preset}: {method}", { preset, method: said("methods", method) }), " ", build("code", {}, named(method))) : namedTwice("methods", method),
      set.length ? build("span", {}, ...set) : gettext("defaults"),
      ...[summary, reference].map((text) => readable(text ?? "–")),
    ];
  });
  const headings = [gettext("Map"), gettext("Method"), gettext("Options"), gettext("What it does"), gettext("Reference")];
  return sheetSection(
    gettext("How the maps were made"),
    sheetTable(gettext("Methods and their options"), headings, lines, "methods"),
    page.fusion && build("p", {}, fusionWords(page.fusion)),
    protocolsPart(found),
    modelPart(),
  );
}

/** A key of the payload as a heading. */
function fieldName(key) {
  const words = key.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function modelPart() {
  const fields = Object.entries(page.model).filter(([name]) => name !== "name" && name !== "fingerprint");
  if (!fields.length) return null;
  const description = fields.map(([name, value]) => [fieldName(name), value]);
  return build("div", {}, build("h4", {}, gettext("The model")), describedBy(description));
}

function fusionWords({ row, layers, head_fusion, layer_fusion, clamp }) {
  const over = gettext("{method}: {head_fusion} over heads, {layer_fusion} over layers {layers} (counted from 0).", {
    ...{ method: rowWords(row), head_fusion, layer_fusion, layers: layers.join(", ") },
  });
  const clamped = {
    heads: gettext("Negative products are left out."),
    fused: gettext("Negative relevance is left out."),
  };
  return clamp ? joined([over, clamped[clamp]]) : over;
}

/** How the numbers of this sheet were measured, where the page knows. */
function protocolsPart(found) {
  const used = new Set(scoredParts(found).map(({ protocol }) => protocol));
  const protocols = (page.summary?.protocols ?? []).filter(({ name }) => used.has(name));
  if (!protocols.length) return null;
  const lines = protocols.map((one) => [
    namedTwice("protocols", one.name),
    removedHow(one),
    valueName(one.value),
    build("span", { class: "mono" }, readable(one.hash)),
    readable(one.reference || "–"),
  ]);
  const headings = [
    ...[gettext("Protocol"), gettext("What is removed, and how"), gettext("Value")],
    ...[gettext("Hash"), gettext("Source")],
  ];
  return sheetTable(gettext("Protocols of the scores"), headings, lines, "methods");
}

/** What a protocol removes and what stands in its place, with the operator's settings. */
function removedHow({ name, operator: { name: operator, ...settings } }) {
  const set = Object.entries(settings).filter(([, value]) => value !== null);
  const words = REMOVED_BY[operator] ? `${said("protocols", name)} (${REMOVED_BY[operator]})` : said("protocols", name);
  return build("span", {}, words, ...set.map(([key, value]) => build("code", { class: "setting" }, named(`${key} ${plainWords(value)}`))));
}

function limitsPart() {
  const limits = document.getElementById("sheet").dataset.limits;
  const origin = [
    [gettext("Page"), page.title],
    [gettext("Made"), page.created],
    [gettext("Written by"), `xai ${page.version}, ${page.schema}`],
    ...Object.entries(page.provenance).map(([key, value]) => [fieldName(key), value]),
  ];
  return sheetSection(
    gettext("Limits and origin"),
    build("p", { class: "limits" }, limits),
    build(
      "p",
      {},
      gettext(
        "Removing patches shows what this model reacts to; changed images are ones it was not trained on. " +
          "Equal numbers do not make two methods right.",
      ),
    ),
    describedBy(origin),
  );
}
