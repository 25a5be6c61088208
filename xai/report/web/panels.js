// What is shown of one image: a panel per map, or one picture with two maps to wipe between.

const PHOTO = { title: gettext("original"), note: "", map: null, photo: true };

/** The panels of an image, side by side: [{title, note, row, label, map, photo, stamp}, …]. */
function panelsOf(detail) {
  return [photoPanel(detail), ...(page.kind === "explanation" ? classPanels(detail) : rowPanels(detail))];
}

function photoPanel(detail) {
  return detail.photo ? PHOTO : { ...PHOTO, note: gettext("the page holds no picture of it") };
}

function classPanels(detail) {
  const labels = look.own ? ownLabels(detail, look.rowA) : [look.label];
  return labels.map((label) => classPanel(detail, look.rowA, label));
}

/** Classes that an image has maps of; images may have been explained for different ones. */
function classesOf(detail, row) {
  return inOrder(page.classes.filter((label) => Object.hasOwn(detail.maps[row] ?? {}, label)));
}

/** Class names as they are shown: of two, the fake one before the real one. */
function inOrder(labels) {
  const known = page.order.filter((label) => labels.includes(label));
  return [...known, ...labels.filter((label) => !known.includes(label))];
}

/** Every class of a row, and what compares two of them. */
function ownLabels(detail, row) {
  const classes = classesOf(detail, row);
  const both = page.compared?.every((label) => classes.includes(label));
  return both ? [...new Set([...classes, DIFFERENCE, OVERLAP])] : classes;
}

function rowPanels(detail) {
  const rows = page.kind === "comparison" ? page.rows.map((row) => row.name) : [look.rowA, look.rowB];
  return [...new Set(rows)].map((row) => rowPanel(detail, row, labelFor(detail, row)));
}

/** The two maps to wipe between: two methods, else two classes, else the image and a map. */
function wipeOf(detail) {
  const { rowA, rowB } = look;
  if (rowA !== rowB) return [rowA, rowB].map((row) => rowPanel(detail, row, labelFor(detail, row)));
  if (page.kind !== "explanation") return [photoPanel(detail), rowPanel(detail, rowA, labelFor(detail, rowA))];
  const classes = page.compared ?? classesOf(detail, rowA).slice(0, 2);
  if (look.own && classes.length > 1) return classes.map((label) => classPanel(detail, rowA, label));
  return [photoPanel(detail), classPanel(detail, rowA, look.own ? (classes[0] ?? page.classes[0]) : look.label)];
}

/** A panel named by its class; all classes of an image share one scale. */
function classPanel(detail, row, label) {
  const map = mapFor(detail, row, label);
  const probability = detail.entry.probabilities[label];
  const known = typeof probability === "number" ? `: ${percentText(probability)}` : "";
  return finished(detail, { title: labelName(label) + known, note: classNote(map, label), row, label, map });
}

function classNote(map, label) {
  const [first, second] = (page.compared ?? []).map(readable);
  if (page.classes.includes(label)) {
    return [peakWords(map), constantWords(map)].filter(Boolean).join(" · ");
  }
  if (label === OVERLAP) return gettext("the smaller of the two");
  return `${first} − ${second}`;
}

/** How far the strongest patch goes along the scale, which of a video's frames it may exceed. */
function peakWords(map) {
  if (!map || !map.limit) return "";
  const share = peakOf(map).size / map.limit;
  return share > 1 + NOISE ? gettext("peak beyond the scale") : gettext("peak {share} of scale", { share: percentText(Math.min(1, share)) });
}

/** Where a map is much the same everywhere, see xai/core/map_statistics.py. */
function constantWords(map) {
  const range = map?.relativeRange;
  if (range === undefined || range === null || map.limit === 0 || range >= NEAR_CONSTANT) return "";
  return gettext("nearly constant: patches differ by {share} of the largest value", { share: percentText(range) });
}

/** What the ends of a colour bar mean: [left, right]. */
function endsOf(map, label) {
  if (label === DIFFERENCE && !page.classes.includes(label)) {
    const [first, second] = page.compared.map(readable);
    return [gettext("more for {label}", { label: second }), gettext("more for {label}", { label: first })];
  }
  if (label === OVERLAP && !page.classes.includes(label)) return ["", gettext("for both")];
  const name = readable(label);
  return [map.signed ? gettext("against {label}", { label: name }) : "", gettext("for {label}", { label: name })];
}

/** A panel named by its method, on a scale of its own. */
function rowPanel(detail, row, label) {
  const { control } = page.rows.find((one) => one.name === row) ?? {};
  const note = control
    ? gettext("control, evidence for {label}", { label: labelName(label) })
    : gettext("evidence for {label}", { label: labelName(label) });
  const map = mapFor(detail, row, label);
  const notes = [note, constantWords(map)].filter(Boolean).join(" · ");
  return finished(detail, { title: rowWords(row), note: notes, row, label, map });
}

function finished(detail, panel) {
  const { map, label, row } = panel;
  const name = readable(detail.entry.name);
  if (!map) return { ...panel, stamp: gettext("no map of this class"), alt: gettext("{name}; there is no map", { name }) };
  const peak = peakOf(map);
  const stamp = peak.size === 0 ? zeroWords(label) : "";
  const most = gettext("strongest in patch row {row}, column {column}: {value}", {
    ...{ row: peak.row + 1, column: peak.col + 1, value: numberText(peak.value, 4) },
  });
  const subject = subjectWords(label);
  const alt = gettext("{subject} by {method}, over {name}; {what}", {
    ...{ subject, method: rowWords(row), name, what: stamp || most },
  });
  return { ...panel, stamp, alt };
}

function subjectWords(label) {
  if (label === DIFFERENCE) return gettext("The classes' difference");
  if (label === OVERLAP) return gettext("The classes' overlap");
  return gettext("Evidence for {label}", { label: readable(label) });
}

function zeroWords(label) {
  if (label === DIFFERENCE) return gettext("no difference: the map is zero");
  if (label === OVERLAP) return gettext("no overlap: the map is zero");
  return gettext("no evidence: the map is zero");
}

/** The name of a class, or of what compares two of them. */
function labelName(label) {
  if (page.classes.includes(label)) return readable(label);
  return { [DIFFERENCE]: gettext("difference"), [OVERLAP]: gettext("overlap") }[label] ?? readable(label);
}

/** The patch with the largest absolute relevance. */
function peakOf({ values, cols }) {
  let at = 0;
  for (let i = 1; i < values.length; i += 1) if (Math.abs(values[i]) > Math.abs(values[at])) at = i;
  const value = values[at];
  return { row: Math.floor(at / cols), col: at % cols, value, size: Math.abs(value) };
}

/** A figure for a panel: {root, canvas, marker, show(panel)}. */
function panelFigure(detail, focusable) {
  const title = build("strong");
  const note = build("span");
  const { frame, canvas, stamp, marker } = frameOf(detail, focusable);
  const scale = scaleOf();
  const body = build("div", {}, frame, scale.root);
  const root = build("figure", { class: "panel" }, build("figcaption", {}, title, note), body);
  limitHeight(body, detail);
  const show = (panel) => {
    write(title, panel.title);
    title.title = page.kind === "explanation" ? "" : readable(panel.row ?? "");
    write(note, panel.note);
    write(stamp, panel.stamp ?? "");
    stamp.hidden = !panel.stamp;
    canvas.setAttribute("aria-label", panel.alt ?? gettext("{name}, as it is", { name: readable(detail.entry.name) }));
    scale.show(panel.map, panel.label);
  };
  return { root, canvas, marker, show };
}

/** A figure with two maps and a divider: also {range, place(share)}. */
function wipeFigure(detail) {
  const titles = [build("strong"), build("strong")];
  const { frame, canvas, stamp, marker } = frameOf(detail, true);
  const divider = build("div", { class: "divider" });
  const range = build("input", { type: "range", min: 0, max: 100, step: 1, value: 50, "aria-label": gettext("Wipe") });
  const scales = [scaleOf(), scaleOf()];
  frame.append(divider);
  const caption = build("figcaption", { class: "sides" }, titles.map((title) => build("span", {}, title)));
  const body = build("div", {}, frame, range, build("div", { class: "two" }, scales.map((scale) => scale.root)));
  limitHeight(body, detail);
  const show = (panels) => {
    panels.forEach((panel, i) => {
      write(titles[i], i ? gettext("right: {title}", panel) : gettext("left: {title}", panel));
      scales[i].show(panel.map, panel.label);
    });
    const stamps = panels.filter((panel) => panel.stamp).map((panel) => `${panel.title}: ${panel.stamp}`);
    write(stamp, stamps.join(" · "));
    stamp.hidden = !stamps.length;
    const [left, right] = panels.map((panel) => panel.alt ?? gettext("the image"));
    canvas.setAttribute("aria-label", gettext("Left of the divider: {left}. Right of it: {right}", { left, right }));
  };
  const place = (part) => {
    divider.style.left = `${100 * part}%`;
    range.setAttribute("aria-valuetext", gettext("{left} left, {right} right", { left: wholePercent(part), right: wholePercent(1 - part) }));
  };
  return { root: build("figure", { class: "panel" }, caption, body), canvas, marker, range, show, place };
}

function frameOf(detail, focusable) {
  const [width, height] = sizeOf(detail.entry.view, widthFor(320, detail.entry.view)); // until it is painted
  const canvas = build("canvas", { role: "img", width, height, tabindex: focusable ? 0 : null });
  const stamp = build("p", { class: "stamp", hidden: "" });
  const marker = build("div", { class: "patch", hidden: "" });
  return { frame: build("div", { class: "frame" }, canvas, stamp, marker), canvas, stamp, marker };
}

/** Tall images stay on the screen. */
function limitHeight(body, { entry: { view: [left, top, right, bottom] } }) {
  body.style.maxWidth = `${Math.round((80 * (right - left)) / (bottom - top))}vh`;
}

/** A colour bar with its limits in the units of the map. */
function scaleOf() {
  const bar = build("canvas", { class: "bar", "aria-hidden": "true" });
  const ticks = build("div", { class: "ticks" }, build("span"), build("span"), build("span"));
  const ends = build("div", { class: "ends" }, build("span"), build("span"));
  const root = build("div", { class: "scale" }, bar, ticks, ends);
  const show = (map, label) => {
    root.hidden = !map || map.limit === 0;
    if (root.hidden) return;
    const low = map.signed ? -map.limit : 0;
    [low, (low + map.limit) / 2, map.limit].forEach((value, i) => write(ticks.children[i], numberText(value)));
    endsOf(map, label).forEach((text, i) => write(ends.children[i], text));
    const painted = JSON.stringify([map.signed, look.colours, look.sign, look.threshold]);
    if (bar.dataset.painted !== painted) paintBar(bar, map, look);
    bar.dataset.painted = painted;
  };
  return { root, show };
}

/** Set a text only where it changes: layout is dear. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
