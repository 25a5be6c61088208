// What the reader chose to see; one state for the whole page.

const AS_EXPLAINED = "as explained";

const look = {
  view: "side", // or "wipe"
  rowA: "", // names of rows: methods with their options
  rowB: "",
  label: "", // a class, "difference" or "overlap"
  own: true, // every class of an explanation, or the class that was followed in each image; else `label`
  layers: AS_EXPLAINED, // or the name of a preset, or the index of a layer
  head: AS_EXPLAINED, // or "mean", "max", "min", or the index of a head
  sign: "both", // "positive", "negative"
  opacity: 0.8, // of the strongest relevance: what lies under it can still be seen
  threshold: 0, // share of the scale that is hidden
  colours: "inferno",
  outlines: true, // of the truth and of the crop
};
const listeners = [];

/** Set some of `look` and tell everybody who listens. */
function change(partial) {
  Object.assign(look, partial);
  for (const listener of listeners) listener(partial);
}

/** Call `listener` with what was set, after each change. */
function listen(listener) {
  listeners.push(listener);
}

/** Begin with the page's first rows and classes. */
function startState() {
  const methods = page.rows.filter((row) => !row.control);
  const rows = [...methods, ...page.rows.filter((row) => row.control)].map((row) => row.name);
  change({ rowA: rows[0] ?? "", rowB: rows[1] ?? rows[0] ?? "", label: page.classes[0] ?? "" });
}
