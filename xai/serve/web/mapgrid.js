// The maps of the image that is worked on: a row per method, a picture per class.

const MOST_STRONGEST = 0.1; // share of the patches that are taken as a map's strongest
const STRONGEST_WORDS = `${100 * MOST_STRONGEST}%`;

/** Take in maps that have come. */
function addMaps(event) {
  const detail = held.get(event.image);
  if (!detail) return;
  detail.maps[event.method] = event.maps;
  detail.caveats[event.method] = event.caveats;
  delete detail.refused[event.method];
  if (event.image === current) showMaps();
  syncChoices();
}

function addRefusal(event) {
  const detail = held.get(event.image);
  if (!detail) return;
  detail.refused[event.method] = sentenceOf(event.message, event.hint);
  if (event.image === current) showMaps();
}

function showMaps() {
  const detail = held.get(current);
  const root = document.getElementById("maps");
  const wanted = [...Object.keys(detail.maps), ...Object.keys(detail.refused)];
  for (const row of [...root.children]) {
    if (row.dataset.image !== current || !wanted.includes(row.dataset.method)) row.remove();
  }
  for (const key of Object.keys(detail.maps)) {
    if (!rowFor(root, key)) root.append(mapRow(detail, key));
  }
  for (const [key, why] of Object.entries(detail.refused)) {
    if (!rowFor(root, key)) root.append(refusedRow(key, why));
  }
  if (!wanted.length) root.append(build("p", { class: "muted" }, gettext("The maps appear here, method by method.")));
  for (const canvas of root.querySelectorAll("canvas.map")) paintOne(canvas, detail);
  syncUnder();
  syncSaving();
}

const rowFor = (root, key) => [...root.children].find((row) => row.dataset.method === key);

function mapRow(detail, key) {
  const configuration = build("button", { type: "button", class: "quiet" }, gettext("Configuration"));
  configuration.setAttribute("aria-label", gettext("Save the configuration of {method}", { method: methodWords(key) }));
  configuration.addEventListener("click", () => guardedly(() => saveFile("configuration", [current], [key])));
  const head = build("div", { class: "map-head" }, build("h3", { title: key }, methodWords(key)), configuration);
  const figures = Object.keys(detail.maps[key]).map((label) => mapFigure(detail, key, label));
  const caveats = detail.caveats[key].map((words) => build("li", {}, readable(words)));
  const notes = caveats.length ? build("ul", { class: "caveats" }, caveats) : null;
  return build("section", { class: "map-row", "data-image": current, "data-method": key }, head, build("div", { class: "map-figures" }, figures), notes);
}

function refusedRow(key, why) {
  const head = build("div", { class: "map-head" }, build("h3", { title: key }, methodWords(key)));
  return build("section", { class: "map-row", "data-image": current, "data-method": key }, head, build("p", { class: "notice" }, readable(why)));
}

function mapFigure(detail, key, label) {
  const map = mapFor(detail, key, label);
  const name = readable(label);
  const alt = gettext("Evidence for {label} by {method}", { label: name, method: methodWords(key) });
  const canvas = build("canvas", { class: "map", role: "img", "aria-label": alt, "data-method": key, "data-label": label });
  const share = detail.entry.probabilities[label];
  const title = build("figcaption", {}, build("strong", {}, name), typeof share === "number" ? ` ${percentText(share)}` : "");
  if (map.limit === 0) return build("figure", {}, title, canvas, build("p", { class: "small" }, gettext("no evidence: the map is zero")));
  const bar = build("canvas", { class: "bar", "aria-hidden": "true" });
  paintBar(bar, map, look);
  const low = map.signed ? numberText(-map.limit) : "0";
  const ticks = build("div", { class: "ticks" }, build("span", {}, low), build("span", {}, numberText(map.limit)));
  const take = build("button", { type: "button", class: "take" }, gettext("Remove the strongest {share}", { share: STRONGEST_WORDS }));
  take.setAttribute("aria-label", gettext("Remove the strongest {share} of the patches for {label} by {method}", { share: STRONGEST_WORDS, label: name, method: methodWords(key) }));
  take.addEventListener("click", () => removeStrongest(map, label));
  return build("figure", {}, title, canvas, bar, ticks, take);
}

function paintOne(canvas, detail) {
  paintMap(canvas, detail, mapFor(detail, canvas.dataset.method, canvas.dataset.label), look, { width: 320 });
}

/** Take the patches away that speak most for a class; the map may have another grid than the patches. */
function removeStrongest(map, label) {
  const [rows, cols] = held.get(current).entry.grid;
  const values = Array.from({ length: rows * cols }, (_, i) => {
    const row = Math.floor(((Math.floor(i / cols) + 0.5) * map.rows) / rows);
    const col = Math.floor((((i % cols) + 0.5) * map.cols) / cols);
    return map.values[row * map.cols + col];
  });
  const order = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  const target = document.getElementById("target");
  if ([...target.options].some((option) => option.value === label)) target.value = label;
  setRegion(order.slice(0, Math.max(1, Math.round(MOST_STRONGEST * order.length))));
}
