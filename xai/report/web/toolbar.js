// The controls above the images: what is shown, how it is painted, in which order.

const fields = []; // {sync, applies}: each puts the state into its control and says whether it is of use
const plain = (list) => [[null, list]];

/** Fill the toolbar; `stack` is the layers and heads of an image, if the page has any. */
function startToolbar(stack) {
  const box = document.getElementById("fields");
  box.append(viewField(), ...mapFields(stack), ...paintFields());
  startReset();
  document.getElementById("list-fields")?.append(...galleryFields());
  listen(syncToolbar);
  syncToolbar();
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
  const methods = page.rows.length > 1 && page.kind !== "comparison" ? [rows.map(rowWords).join(" | ")] : [];
  const hidden = look.threshold > 0 ? [gettext("below {share} of the scale hidden", { share: wholePercent(look.threshold) })] : [];
  const opacity = gettext("opacity {share}", { share: wholePercent(look.opacity) });
  return [...methods, labelWords(), opacity, ...hidden].join(" · ");
}

function labelWords() {
  if (!look.own) return labelName(look.label);
  return page.kind === "explanation" || page.classes.length > 1 ? ownWords() : readable(page.classes[0] ?? "");
}

function ownWords() {
  return page.kind === "explanation" ? gettext("every class") : gettext("the class followed");
}

function viewField() {
  const views = [["side", gettext("Side by side")], ["wipe", gettext("Wipe")]];
  const inputs = views.map(([value]) => build("input", { type: "radio", name: "view", value }));
  const labels = views.map(([, text], i) => build("label", {}, inputs[i], build("span", {}, text)));
  const segments = build("div", { class: "segments", role: "radiogroup", "aria-label": gettext("View") }, labels);
  const element = build("div", { class: "field" }, build("span", {}, gettext("View")), segments);
  element.addEventListener("change", (event) => change({ view: event.target.value }));
  return field(element, () => inputs.forEach((input) => (input.checked = input.value === look.view)));
}

function mapFields(stack) {
  const wipes = () => look.view === "wipe";
  const several = page.rows.length > 1;
  const made = [
    chooser(gettext("Method A"), "rowA", rowGroups(), () => several && (page.kind !== "comparison" || wipes())),
    chooser(gettext("Method B"), "rowB", rowGroups(), () => several && (page.kind === "benchmark" || wipes())),
    labelField(),
  ];
  if (!stack) return made;
  return [
    ...made,
    chooser(gettext("Layers"), "layers", layerGroups(stack)),
    chooser(gettext("Heads"), "head", headGroups(stack)),
  ];
}

function rowGroups() {
  const names = (control) => page.rows.filter((row) => row.control === control).map((row) => row.name);
  const options = (control) => names(control).map((name) => [rowWords(name), name]);
  if (!names(true).length) return plain(options(false));
  return [
    [gettext("Methods"), options(false)],
    [gettext("Controls"), options(true)],
  ];
}

function labelField() {
  const derived = page.compared ? [DIFFERENCE, OVERLAP].filter((name) => !page.classes.includes(name)) : [];
  const names = [...inOrder(page.classes), ...derived];
  const options = [[ownWords(), null], ...names.map((name) => [labelName(name), name])];
  return chooser(gettext("Class"), null, plain(options), {
    read: () => (look.own ? null : look.label),
    write: (label) => change(label === null ? { own: true } : { own: false, label }),
    applies: () => names.length > 1,
  });
}

function layerGroups({ layers }) {
  const presets = Object.entries(page.fusion.presets).map(([name, list]) => [
    `${readable(name).replaceAll("_", " ")}${list.length > 1 ? ` (${list.length})` : ""}`,
    name,
  ]);
  const explained = gettext("as explained ({how})", { how: page.fusion.layers.join(", ") });
  const single = Array.from({ length: layers }, (_, layer) => [gettext("layer {layer}", { layer }), layer]);
  return [
    [null, [[explained, AS_EXPLAINED]]],
    [gettext("Presets"), presets],
    [gettext("One layer"), single],
  ];
}

function headGroups({ heads }) {
  const fused = Object.keys(HEAD_FUSIONS).map((name) => [gettext("{fusion} of all", { fusion: name }), name]);
  const single = Array.from({ length: heads }, (_, head) => [gettext("head {head}", { head }), head]);
  const explained = gettext("as explained ({how})", { how: page.fusion.head_fusion });
  return [
    [null, [[explained, AS_EXPLAINED]]],
    [gettext("Fusion"), fused],
    [gettext("One head"), single],
  ];
}

function paintFields() {
  const signs = [
    [pgettext("sign", "both"), "both"],
    [pgettext("sign", "only for"), "positive"],
    [pgettext("sign", "only against"), "negative"],
  ];
  return [
    chooser(gettext("Sign"), "sign", plain(signs)),
    slider(gettext("Opacity"), "opacity"),
    slider(gettext("Hide below"), "threshold"),
    chooser(gettext("Colours"), "colours", plain(UNSIGNED.map((name) => [name, name]))),
    checkbox(gettext("Outlines"), () => look.outlines, (outlines) => change({ outlines })),
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
  clear();
  new ResizeObserver(clear).observe(toolbar);
}

function field(element, sync, applies = () => true) {
  fields.push({ element, sync, applies });
  return element;
}

function wholePercent(share) {
  return `${Math.round(100 * share)}%`;
}
