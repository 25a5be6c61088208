// The controls above the images: what is shown, how it is painted, in which order.

const fields = []; // {sync, applies}: each puts the state into its control and says whether it is of use
const plain = (list) => [[null, list]];

/** Fill the toolbar; `stack` is the layers and heads of an image, if the page has any. */
function startToolbar(stack) {
  const box = document.getElementById("fields");
  box.append(viewField(), ...mapFields(stack), ...paintFields());
  startReset();
  document.getElementById("list-fields").append(...galleryFields());
  if (page.images.length > 1) arrange();
  listen(syncToolbar);
  syncToolbar();
  document.getElementById("controls").open = !matchMedia("(max-width: 40rem)").matches;
  const toolbar = document.getElementById("toolbar");
  toolbar.hidden = page.images.length === 0;
  keepClear(toolbar);
}

function syncToolbar() {
  for (const { element, sync, applies } of fields) {
    sync();
    element.hidden = !applies();
  }
  document.getElementById("look-words").textContent = lookWords();
}

/** What is shown, in a line that stays when the controls are folded. */
function lookWords() {
  const rows = look.view === "wipe" || page.kind === "benchmark" ? [look.rowA, look.rowB] : [look.rowA];
  const methods = page.rows.length > 1 && page.kind !== "comparison" ? [rows.map(readable).join(" | ")] : [];
  const hidden = look.threshold > 0 ? [`below ${wholePercent(look.threshold)} of the scale hidden`] : [];
  return [...methods, labelWords(), `opacity ${wholePercent(look.opacity)}`, ...hidden].join(" · ");
}

function labelWords() {
  if (!look.own) return readable(look.label);
  if (page.kind === "explanation") return "every class";
  return page.classes.length > 1 ? "the class followed" : readable(page.classes[0] ?? "");
}

function viewField() {
  const views = [["side", "Side by side"], ["wipe", "Wipe"]];
  const inputs = views.map(([value]) => build("input", { type: "radio", name: "view", value }));
  const labels = views.map(([, text], i) => build("label", {}, inputs[i], build("span", {}, text)));
  const segments = build("div", { class: "segments", role: "radiogroup", "aria-label": "View" }, labels);
  const element = build("div", { class: "field" }, build("span", {}, "View"), segments);
  element.addEventListener("change", (event) => change({ view: event.target.value }));
  return field(element, () => inputs.forEach((input) => (input.checked = input.value === look.view)));
}

function mapFields(stack) {
  const wipes = () => look.view === "wipe";
  const several = page.rows.length > 1;
  const made = [
    chooser("Method A", "rowA", rowGroups(), () => several && (page.kind !== "comparison" || wipes())),
    chooser("Method B", "rowB", rowGroups(), () => several && (page.kind === "benchmark" || wipes())),
    labelField(),
  ];
  if (!stack) return made;
  return [...made, chooser("Layers", "layers", layerGroups(stack)), chooser("Heads", "head", headGroups(stack))];
}

function rowGroups() {
  const names = (control) => page.rows.filter((row) => row.control === control).map((row) => row.name);
  const options = (control) => names(control).map((name) => [readable(name), name]);
  return names(true).length ? [["Methods", options(false)], ["Controls", options(true)]] : plain(options(false));
}

function labelField() {
  const own = page.kind === "explanation" ? "every class" : "the class followed";
  const derived = page.compared ? [DIFFERENCE, OVERLAP].filter((name) => !page.classes.includes(name)) : [];
  const names = [...page.classes, ...derived];
  const element = chooser("Class", null, plain([[own, null], ...names.map((name) => [readable(name), name])]), {
    read: () => (look.own ? null : look.label),
    write: (label) => change(label === null ? { own: true } : { own: false, label }),
    applies: () => names.length > 1,
  });
  return element;
}

function layerGroups({ layers }) {
  const presets = Object.entries(page.fusion.presets).map(([name, list]) => [
    `${readable(name).replaceAll("_", " ")}${list.length > 1 ? ` (${list.length})` : ""}`,
    name,
  ]);
  const explained = `${AS_EXPLAINED} (${page.fusion.layers.join(", ")})`;
  const single = Array.from({ length: layers }, (_, i) => [`layer ${i}`, i]);
  return [[null, [[explained, AS_EXPLAINED]]], ["Presets", presets], ["One layer", single]];
}

function headGroups({ heads }) {
  const fused = Object.keys(HEAD_FUSIONS).map((name) => [`${name} of all`, name]);
  const single = Array.from({ length: heads }, (_, i) => [`head ${i}`, i]);
  const explained = [[`${AS_EXPLAINED} (${page.fusion.head_fusion})`, AS_EXPLAINED]];
  return [[null, explained], ["Fusion", fused], ["One head", single]];
}

function paintFields() {
  const signs = [["both", "both"], ["only for", "positive"], ["only against", "negative"]];
  return [
    chooser("Sign", "sign", plain(signs)),
    slider("Opacity", "opacity"),
    slider("Hide below", "threshold"),
    chooser("Colours", "colours", plain(UNSIGNED.map((name) => [name, name]))),
    checkbox("Outlines", () => look.outlines, (outlines) => change({ outlines })),
  ];
}

/**
 * A labelled <select>; groups: [title or null, [[text, value], …]].
 * @param {?string} key of `look`, unless `options` reads and writes something else
 */
function chooser(label, key, groups, options = {}) {
  const { read, write, applies } = {
    read: () => look[key],
    write: (value) => change({ [key]: value }),
    applies: typeof options === "function" ? options : () => true,
    ...options,
  };
  const values = groups.flatMap(([, list]) => list.map(([, value]) => value));
  const option = ([text, value]) => build("option", { value: values.indexOf(value) }, text);
  const group = ([title, list]) => (title ? build("optgroup", { label: title }, list.map(option)) : list.map(option));
  const id = `choose-${label.toLowerCase().replaceAll(" ", "-")}`;
  const select = build("select", { id }, groups.flatMap(group));
  select.addEventListener("change", () => write(values[Number(select.value)]));
  const element = build("div", { class: "field" }, build("label", { for: id }, label), select);
  return field(element, () => (select.value = values.indexOf(read())), applies);
}

/** A labelled range of percent. */
function slider(label, key) {
  const input = build("input", { type: "range", min: 0, max: 100, step: 1 });
  const value = build("span", { class: "value" });
  input.addEventListener("input", () => change({ [key]: Number(input.value) / 100 }));
  const words = build("span", {}, `${label} `, value);
  return field(build("label", { class: "field range" }, words, input), () => {
    input.value = Math.round(100 * look[key]);
    value.textContent = wholePercent(look[key]);
    input.setAttribute("aria-valuetext", wholePercent(look[key]));
  });
}

function checkbox(label, read, write, applies) {
  const input = build("input", { type: "checkbox" });
  input.addEventListener("change", () => write(input.checked));
  const element = build("label", { class: "field check" }, build("span", {}, label), input);
  return field(element, () => (input.checked = read()), applies);
}

function startReset() {
  const start = { ...look };
  document.getElementById("reset").addEventListener("click", () => change(start));
}

/** Neither a link's target nor what has the focus hides behind the toolbar. */
function keepClear(toolbar) {
  const clear = () => (document.documentElement.style.scrollPaddingTop = `${toolbar.offsetHeight + 12}px`);
  new ResizeObserver(clear).observe(toolbar);
}

function field(element, sync, applies = () => true) {
  fields.push({ element, sync, applies });
  return element;
}

function wholePercent(share) {
  return `${Math.round(100 * share)}%`;
}
