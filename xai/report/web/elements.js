// Elements, names and numbers: whatever comes from the payload is set as text and never parsed.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text and are never parsed. */
function build(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function buildSvg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Text without line breaks, control and direction characters, which are written as escapes. */
function readable(text) {
  const escape = (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`;
  return String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, escape);
}

/** A name that may be broken after its underscores, hyphens and slashes. */
function named(text) {
  const pieces = readable(text).split(/(?<=[_/-])/);
  return build("span", {}, ...pieces.flatMap((piece, i) => (i ? [build("wbr"), piece] : [piece])));
}

/** A name in words: of a row, a method, a metric or a protocol. */
function said(kind, name) {
  return Object.hasOwn(page.words[kind], name) ? page.words[kind][name] : readable(name);
}

const rowWords = (row) => said("rows", row);

/** What stands beside the pointer where a name is said in words: the one that configurations have. */
function givenName(kind, name) {
  return said(kind, name) === readable(name) ? null : readable(name);
}

/** A row in words, which leads to how its maps were made; under the focus, too, stands the name it has elsewhere. */
function namedRow(row) {
  const href = `#made-${page.rows.findIndex(({ name }) => name === row)}`;
  return build("a", { class: "row-name", href, title: givenName("rows", row) }, rowWords(row));
}

/** A name in words, followed by the one that configurations have. */
function namedTwice(kind, name) {
  const given = givenName(kind, name);
  return build("span", {}, said(kind, name), given && " ", given && build("code", {}, named(given)));
}

/** A rounded number that carries the exact one. */
function datum(value, words = numberText) {
  if (value === null || value === undefined) return build("span", { title: gettext("no value") }, "–");
  return build("data", { value, title: String(value) }, words(value));
}

/** Two decimals, for what lies in [−1, 1]. */
function hundredths(value) {
  const text = value.toFixed(2);
  return Number(text) === 0 ? "0.00" : text.replace("-", "−");
}

/** "a", "a and b", "a, b and c" */
function listed(words) {
  if (words.length < 2) return words.join("");
  const [first, last] = [words.slice(0, -1).join(gettext(", ")), words.at(-1)];
  return gettext("{first} and {last}", { first, last });
}

/** Sentences one after another. */
function joined(sentences) {
  return sentences.reduce((first, second) => gettext("{first} {second}", { first, second }));
}

function sheetSection(title, ...children) {
  return build("section", {}, build("h3", {}, title), ...children);
}

/** A table in a box that scrolls on its own. `lines`: cells, of which the first is the line's heading. */
function sheetTable(caption, headings, lines, kind = "") {
  const head = headings.map((text) => build("th", { scope: "col" }, text));
  const body = lines.map(([first, ...cells]) =>
    build("tr", {}, build("th", { scope: "row" }, first), ...cells.map(asCell)),
  );
  const table = build(
    "table",
    { class: kind || null },
    build("caption", {}, caption),
    build("thead", {}, build("tr", {}, ...head)),
    build("tbody", {}, ...body),
  );
  return build("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
}

function asCell(content) {
  return content instanceof HTMLTableCellElement ? content : build("td", {}, content);
}

// what a number is read of the model; other names stand for themselves
const VALUES = {
  margin: pgettext("value", "margin"),
  probability: pgettext("value", "probability"),
  logit: pgettext("value", "logit"),
  accuracy: pgettext("value", "accuracy"),
};

/** The name of a value of the payload, as it is said. */
function valueName(value) {
  return Object.hasOwn(VALUES, value) ? VALUES[value] : readable(value);
}
