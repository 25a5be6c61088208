// Curves of one image as SVG, with the step that is looked at.

const CHART = { width: 480, height: 280, left: 52, right: 22, top: 12, bottom: 48 };

function chartX(fraction) {
  return CHART.left + fraction * (CHART.width - CHART.left - CHART.right);
}

/**
 * @param {SVGSVGElement} chart to be drawn anew
 * @param {object} part of the page
 * @param {{name: string, values: number[]}[]} curves one or two
 * @param {number} step that is marked
 * @param {string} unit of the values
 */
function drawCurves(chart, part, curves, step, unit) {
  const all = curves.flatMap(({ values }) => values);
  const ticks = niceTicks(Math.min(...all), Math.max(...all));
  const [low, high] = [ticks[0], ticks.at(-1)];
  const span = CHART.height - CHART.top - CHART.bottom;
  const now = chartX(part.fractions[step]);
  const y = (value) => CHART.top + ((high - value) / (high - low)) * span;
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", curvesWords(part, curves, unit));
  chart.replaceChildren(
    ...gridLines(ticks, y),
    ...axisWords(part, unit),
    buildSvg("line", { class: "now", x1: now, x2: now, y1: CHART.top, y2: CHART.top + span }),
    ...curves.map((curve, i) => curveLine(curve, i, part, step, y)).reverse(),
  );
}

function gridLines(ticks, y) {
  const [from, to] = [CHART.left, CHART.width - CHART.right];
  const across = ticks.flatMap((tick) => [
    buildSvg("line", { class: tick === 0 ? "zero" : "grid", x1: from, x2: to, y1: y(tick), y2: y(tick) }),
    buildSvg("text", { x: from - 6, y: y(tick) + 4, "text-anchor": "end" }, numberText(tick)),
  ]);
  const below = CHART.height - CHART.bottom + 19;
  const along = [0, 0.25, 0.5, 0.75, 1].map((at) =>
    buildSvg("text", { x: chartX(at), y: below, "text-anchor": "middle" }, `${100 * at}%`),
  );
  return [...across, ...along];
}

function axisWords(part, unit) {
  const middle = (CHART.top + CHART.height - CHART.bottom) / 2;
  const turned = `translate(12 ${middle}) rotate(-90)`;
  const below = part.inserts ? gettext("patches put back") : gettext("patches removed");
  const beside = part.metric === "srg" ? gettext("gain in {unit}", { unit }) : unit;
  return [
    buildSvg("text", { class: "axis", x: chartX(0.5), y: CHART.height - 8, "text-anchor": "middle" }, below),
    buildSvg("text", { class: "axis", "text-anchor": "middle", transform: turned }, beside),
  ];
}

function curveLine({ name, values }, place, part, step, y) {
  const points = values.map((value, i) => [chartX(part.fractions[i]), y(value)]);
  const dot = ([cx, cy], i) =>
    buildSvg("circle", { cx, cy, r: i === step ? 6 : 2.5, class: i === step ? "at" : "dot" });
  return buildSvg(
    "g",
    { class: `curve curve-${place}`, "data-row": name },
    buildSvg("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
    ...points.map(dot),
  );
}

function curvesWords(part, curves, unit) {
  const ends = curves.map(({ name, values }) => {
    const [first, last] = [numberText(values[0]), numberText(values.at(-1))];
    return gettext("{name} from {first} to {last}", { name: rowWords(name), first, last });
  });
  const share = part.inserts ? gettext("share of patches put back") : gettext("share of patches removed");
  return gettext("{metric} of this image: {unit} by {share}; {curves}", {
    ...{ metric: said("metrics", part.metric), unit, share },
    curves: ends.join(gettext("; ")),
  });
}

/** Round values around an interval, at most seven. */
function niceTicks(low, high) {
  if (high === low) [low, high] = [low - 0.5, high + 0.5];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const [first, last] = [Math.floor(low / size), Math.ceil(high / size)];
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * size);
}

/** Call `go` with the step nearest to the pointer while it is held down. */
function dragAlong(chart, go, fractions) {
  const follow = (event) => {
    const { left, width } = chart.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * CHART.width;
    const distances = fractions().map((fraction) => Math.abs(chartX(fraction) - x));
    go(distances.indexOf(Math.min(...distances)));
  };
  chart.addEventListener("pointerdown", (event) => {
    chart.setPointerCapture(event.pointerId);
    follow(event);
    event.preventDefault();
  });
  chart.addEventListener("pointermove", (event) => {
    if (chart.hasPointerCapture(event.pointerId)) follow(event);
  });
}
