// Evidence by parts of the face: shares of relevance beside area, and the answer without each part.

const FACE_PARTS = {
  eyes: gettext("eyes"),
  brows: gettext("brows"),
  nose: gettext("nose"),
  mouth: gettext("mouth"),
  forehead: gettext("forehead"),
  skin: pgettext("part of a face", "skin"),
  jaw: gettext("jaw and boundary"),
  hair: gettext("hair and ears"),
  background: gettext("background"),
};
const FACE_PLOT = { width: 160, height: 26 };

function facePartsSection({ face_parts: face }) {
  if (!face?.parts.length) return null;
  const picture = face.picture && build("img", { src: face.picture, alt: facePictureWords(face) });
  return sheetSection(
    gettext("Evidence by parts of the face"),
    picture &&
      build(
        "figure",
        { class: "face-picture" },
        picture,
        build("figcaption", { class: "muted" }, gettext("The parts, in the colours of the tables.")),
      ),
    ...faceLabels(face).map((label) => faceShares(face, label)),
    build("p", { class: "small muted" }, faceSharesWords(face)),
    ...faceRemovals(face),
  );
}

function faceShares(face, label) {
  const reach = faceReach(face, label);
  return sheetTable(
    gettext("Relevance for {label}: the share that lies in each part, beside the share that its area alone would give", {
      label: readable(label),
    }),
    [
      ...[gettext("Part"), gettext("Area"), gettext("For {label}", { label: readable(label) }), gettext("Times its area")],
      ...[gettext("Against {label}", { label: readable(label) }), faceKey()],
    ],
    face.parts.map((part) => faceCells(part, label, reach)),
    "face-parts",
  );
}

/** The classes that the maps are of, in the page's order: fake before real. */
function faceLabels(face) {
  const known = Object.keys(face.parts[0].relevance);
  const first = (page.compared ?? []).filter((label) => known.includes(label));
  return [...first, ...known.filter((label) => !first.includes(label))];
}

function facePictureWords({ points }) {
  return gettext("The face with its parts, from {n} landmarks", { n: points });
}

function facePartName({ part }) {
  return build("span", { class: `face-name face-${part}` }, FACE_PARTS[part]);
}

function faceKey() {
  const mark = (kind, text) => build("span", { class: `key key-${kind}` }, text);
  return build(
    "span",
    { class: "plot-key" },
    mark("area", gettext("area")),
    mark("for", gettext("for")),
    mark("against", gettext("against")),
  );
}

/** A share with its interval below it. */
function faceShare(share, interval) {
  if (share === null) return build("span", {}, datum(share));
  const range = interval && build("span", { class: "of" }, percentText(interval[0]), " … ", percentText(interval[1]));
  return build("span", {}, datum(share, percentText), " ", range);
}

function faceCells(part, label, reach) {
  const { positive, positive_interval, negative, negative_interval } = part.relevance[label];
  const times = positive === null || part.area === 0 ? null : positive / part.area;
  return [
    facePartName(part),
    faceShare(part.area, part.area_interval),
    faceShare(positive, positive_interval),
    datum(times, hundredths),
    faceShare(negative, negative_interval),
    facePlot(part, label, reach),
  ];
}

/** The largest share of a part of the face: the background, which may be most of the image, is cut off there. */
function faceReach({ parts }, label) {
  const shares = parts.slice(0, -1).flatMap(({ area, relevance }) => {
    const { positive, positive_interval, negative, negative_interval } = relevance[label];
    return [area, positive, negative, ...(positive_interval ?? []), ...(negative_interval ?? [])];
  });
  return Math.max(...shares.filter((share) => share !== null), 1e-9);
}

/** Grey: area; orange to the right: for the class; blue to the left: against it; lines: intervals. */
function facePlot(part, label, reach) {
  const { positive, positive_interval, negative, negative_interval } = part.relevance[label];
  const half = FACE_PLOT.width / 2;
  const at = (share) => half + Math.max(-1, Math.min(1, share / reach)) * half;
  const bar = (from, to, height, kind) =>
    buildSvg("rect", {
      ...{ x: Math.min(at(from), at(to)), width: Math.abs(at(to) - at(from)) },
      ...{ y: (FACE_PLOT.height - height) / 2, height, class: kind },
    });
  const marks = [bar(-part.area, part.area, 24, "face-even")];
  if (positive !== null) marks.push(bar(0, positive, 12, "face-for"), bar(...positive_interval, 2, "face-line"));
  if (negative !== null) {
    const [low, high] = negative_interval;
    marks.push(bar(-negative, 0, 12, "face-against"), bar(-high, -low, 2, "face-line"));
  }
  marks.push(buildSvg("line", { x1: half, x2: half, y1: 0, y2: FACE_PLOT.height, class: "plot-clean" }));
  const words = { part: FACE_PARTS[part.part], label: readable(label), area: percentText(part.area) };
  const label_ = gettext("{part}: {positive} of the relevance for {label}, {negative} of that against it, {area} of the area", {
    ...words,
    ...{ positive: faceWords(positive), negative: faceWords(negative) },
  });
  return faceSvg(label_, marks);
}

function faceWords(share) {
  return share === null ? "–" : percentText(share);
}

function faceSvg(label, marks) {
  const { width, height } = FACE_PLOT;
  return buildSvg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "plot" }, ...marks);
}

function faceSharesWords({ draws, points }) {
  const drawn = {
    5: gettext("Five landmarks are known; all others, and so the outlines, are drawn from them."),
    68: gettext("68 landmarks are known; the hairline is drawn, so hair and forehead are least sure."),
    81: gettext("81 landmarks are known."),
  };
  return joined([
    gettext(
      "Below each share: where it lies in 95 of {draws} placements of the landmarks, moved by their measured error. " +
        "That says how well the parts are known, nothing of the model.",
      { draws: draws },
    ),
    drawn[points],
    gettext("Plots have the scale of the face's parts; the background is cut off there."),
  ]);
}

/** What the model answers without the cells of each part, beside as many random ones. */
function faceRemovals({ parts, removals }) {
  if (!removals) return [];
  const { target, value, operator, clean } = removals;
  const lines = parts.map((part) => [
    facePartName(part),
    String(part.cells),
    datum(part.without),
    datum(part.without === null ? null : part.without - clean),
    part.random.length ? spread(part.random.map((one) => one - clean)) : faceNoRandom(part),
    datum(part.p, hundredths),
    faceChangePlot(part, parts, clean),
  ]);
  const caption = gettext("The model's {value} for {target} without each part ({how}); as it is {clean}", {
    ...{ value: valueName(value), target: readable(target), clean: numberText(clean) },
    how: REMOVED_BY[operator]
      ? gettext("removed: {how}", { how: REMOVED_BY[operator] })
      : gettext("operator: {operator}", { operator: readable(operator) }),
  });
  const headings = [
    ...[gettext("Part"), gettext("Cells"), gettext("Without it"), gettext("Change")],
    ...[gettext("Change without random regions"), "p", gettext("Change, beside random regions")],
  ];
  return [
    sheetTable(caption, headings, lines, "face-parts"),
    build(
      "p",
      { class: "small muted" },
      gettext(
        "A cell is the part's that covers most of it. Random regions have as many cells in as many pieces, none of " +
          "them the part's. p: how rare so low a value is among them and the part itself; one-sided, not corrected " +
          "for the number of parts.",
      ),
    ),
  ];
}

function faceNoRandom({ cells }) {
  return cells ? gettext("none: too large a part") : gettext("none: no cell is the part's");
}

function faceChangePlot({ part, without, random }, parts, clean) {
  const { width, height } = FACE_PLOT;
  const all = parts
    .slice(0, -1)
    .flatMap((one) => [one.without ?? clean, ...one.random])
    .map((value) => value - clean);
  const [low, high] = [Math.min(0, ...all), Math.max(0, ...all)];
  const room = (high - low || 1) * 0.06;
  const at = (value) => Math.max(0, Math.min(1, (value - clean - low + room) / (high - low + 2 * room))) * width;
  const marks = [buildSvg("line", { x1: 0, x2: width, y1: height / 2, y2: height / 2, class: "plot-axis" })];
  marks.push(...random.map((draw) => buildSvg("circle", { cx: at(draw), cy: height / 2, r: 3.5, class: "plot-draw" })));
  marks.push(buildSvg("line", { x1: at(clean), x2: at(clean), y1: 2, y2: height - 2, class: "plot-clean" }));
  if (without !== null) marks.push(buildSvg("path", { d: diamond(at(without), height / 2, 6), class: "plot-top" }));
  const label = gettext("{part}: change of {change} without it, {values} without random regions", {
    part: FACE_PARTS[part],
    change: without === null ? "–" : numberText(without - clean),
    values: random.length ? spread(random.map((one) => one - clean)) : "–",
  });
  return faceSvg(label, marks);
}
