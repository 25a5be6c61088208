// The curve explorer: along a curve of one image, beside what the model saw at that step.

const REDRAWABLE = ["deletion", "morf", "lerf", "insertion", "srg"]; // curves over shares of removed patches
const FLAT = ["mean", "minimum", "constant"]; // operators that put one colour in the place of a patch
const RANDOM = "random_0";
const explored = { part: null, row: null, other: null }; // kept from image to image

/**
 * The explorer of one image, in `root`.
 * @param {Element} root to be filled
 * @param {object} found what `detail` gives
 * @returns {boolean} whether this image has curves to explore; else `root` stays as it is
 */
function startExplorer(root, found) {
  const parts = page.parts.filter((part) => exploredRows(found, part).length);
  if (!parts.length) return false;
  const choice = chooseFirst(parts, found);
  const view = explorerView(parts, choice);
  const draw = () => drawExplorer(view, found, choice);
  const renew = () => {
    Object.assign(explored, { part: choice.part.key, row: choice.row, other: choice.other });
    fillRows(view, found, choice);
    choice.step = Math.min(choice.step, choice.part.fractions.length - 1);
    draw();
  };
  view.part.addEventListener("change", () => {
    choice.part = parts[view.part.selectedIndex];
    renew();
  });
  view.row.addEventListener("change", () => renew((choice.row = view.row.value)));
  view.other.addEventListener("change", () => renew((choice.other = view.other.value)));
  view.slider.addEventListener("input", () => draw((choice.step = Number(view.slider.value))));
  dragAlong(view.chart, (step) => draw((choice.step = step)), () => choice.part.fractions);
  root.replaceChildren(...view.nodes);
  renew();
  return true;
}

/** Rows with a curve over removed patches, and an order to draw them by. */
function exploredRows(found, part) {
  if (!REDRAWABLE.includes(part.metric) || !part.fractions.length) return [];
  return page.rows.map(({ name }) => name).filter((name) => {
    return found.curves[part.key]?.[name]?.length === part.fractions.length && found.orders[name];
  });
}

function chooseFirst(parts, found) {
  const plain = ({ metric }) => metric === "deletion";
  const part = parts.find(({ key }) => key === explored.part) ?? parts.find(plain) ?? parts[0];
  const row = explored.row ?? page.rows.find(({ name, control }) => !control && found.orders[name])?.name;
  return { part, row, other: explored.other ?? RANDOM, step: Math.floor(part.fractions.length / 3) };
}

function explorerView(parts, choice) {
  const option = ({ key, metric, protocol }) => build("option", { value: key, title: readable(key) }, `${said("metrics", metric)} (${said("protocols", protocol)})`);
  const part = build("select", {}, ...parts.map(option));
  part.value = choice.part.key;
  const view = {
    part,
    row: build("select"),
    other: build("select"),
    slider: build("input", { type: "range", min: "0", step: "1", "aria-label": gettext("Step along the curve") }),
    chart: buildSvg("svg", { class: "explorer-chart", viewBox: `0 0 ${CHART.width} ${CHART.height}` }),
    said: build("p", { class: "explorer-said", role: "status" }),
    states: build("div", { class: "explorer-states" }),
    note: build("p", { class: "explorer-note small" }),
  };
  const field = (label, control) => {
    control.setAttribute("aria-label", label);
    return build("label", { class: "field" }, build("span", {}, label), control);
  };
  view.nodes = [
    build("h3", {}, gettext("Along the curve")),
    build("p", { class: "explorer-help" }, gettext("Drag along the curve to see what was left for the model.")),
    build(
      "div",
      { class: "explorer-fields" },
      field(gettext("Curve"), part),
      field(gettext("Method"), view.row),
      field(gettext("Compared with"), view.other),
    ),
    build(
      "div",
      { class: "explorer-body" },
      build("div", {}, view.chart, view.slider, view.said),
      build("div", {}, view.states, view.note),
    ),
  ];
  return view;
}

/** Offer the rows of the part chosen; what was chosen stays where it can. */
function fillRows(view, found, choice) {
  const rows = exploredRows(found, choice.part);
  const options = () => rows.map((name) => build("option", { value: name, title: givenName("rows", name) }, rowWords(name)));
  view.row.replaceChildren(...options());
  view.other.replaceChildren(build("option", { value: "" }, pgettext("compared with", "nothing")), ...options());
  if (!rows.includes(choice.row)) choice.row = rows[0];
  if (!rows.includes(choice.other)) choice.other = "";
  view.row.value = choice.row;
  view.other.value = choice.other;
  for (const select of [view.part, view.row, view.other]) select.title = select.selectedOptions[0].title;
  view.slider.max = choice.part.fractions.length - 1;
}

function drawExplorer(view, found, choice) {
  const { part, step } = choice;
  const rows = [choice.row, choice.other].filter((name, i) => name && (i === 0 || name !== choice.row));
  const curves = rows.map((name) => ({ name, values: found.curves[part.key][name] }));
  const unit = partValue(part, found);
  drawCurves(view.chart, part, curves, step, unit);
  view.slider.value = step;
  const said = stepWords(found, part, curves, step, unit);
  view.slider.setAttribute("aria-valuetext", said);
  view.said.replaceChildren(...saidNodes(found, part, curves, step, unit));
  const states = rows.flatMap((name) => stepStates(part).map((state) => ({ ...state, name })));
  fitStates(view.states, states.length);
  states.forEach((state, i) => drawState(view.states.children[i], found, part, state, step));
  view.note.textContent = stateNote(found, part, unit);
}

/** What a curve is read of: the protocol knows, else the image's removals. */
function partValue(part, found) {
  const protocol = page.summary?.protocols?.find(({ name }) => name === part.protocol);
  return valueName(protocol?.value ?? found.removals[0]?.value ?? gettext("value"));
}

/** Patches of the grid, which every order of them lists once. */
function patchesOf(found, name) {
  return decodeOrder(found.orders[name]).length;
}

function removedWords(part, patches, step) {
  const count = Math.round(part.fractions[step] * patches);
  const words = { count, patches, share: percentText(part.fractions[step]) };
  return part.inserts
    ? gettext("{count} of {patches} patches put back ({share})", words)
    : gettext("{count} of {patches} patches removed ({share})", words);
}

function stepWords(found, part, curves, step, unit) {
  const values = curves.map(({ name, values }) => `${rowWords(name)} ${numberText(values[step])}`);
  return gettext("{removed}; {unit}: {values}", {
    removed: removedWords(part, patchesOf(found, curves[0].name), step),
    ...{ unit: unitWords(part, unit), values: values.join(gettext(", ")) },
  });
}

function saidNodes(found, part, curves, step, unit) {
  const values = curves.flatMap(({ name, values }, i) => [
    build("span", { class: `curve-name curve-${i}` }, namedRow(name)),
    ...[" ", build("strong", {}, datum(values[step])), " "],
  ]);
  const where = gettext("{metric} ({protocol}), step {step} of {steps}: {removed}", {
    ...{ metric: said("metrics", part.metric), protocol: said("protocols", part.protocol) },
    ...{ step: step + 1, steps: part.fractions.length },
    removed: removedWords(part, patchesOf(found, curves[0].name), step),
  });
  return [where, build("span", { class: "explorer-values" }, `${unitWords(part, unit)}: `, ...values)];
}

function unitWords(part, unit) {
  return part.metric === "srg" ? gettext("gain in {unit} (least − most relevant first)", { unit }) : unit;
}

/** Which patches are gone at a step, of an order with the most relevant first; srg is a difference of two. */
function stepStates({ metric, inserts }) {
  const most = { hidden: (order, count) => order.slice(0, count), words: gettext("most relevant removed first") };
  const least = {
    hidden: (order, count) => order.slice(order.length - count),
    words: gettext("least relevant removed first"),
  };
  const back = { hidden: (order, count) => order.slice(count), words: gettext("most relevant put back first") };
  if (metric === "srg") return [most, least];
  if (metric === "lerf") return [least];
  return [inserts ? back : most];
}

function stateNote(found, part, unit) {
  const how = part.redrawn ? readable(part.redrawn).replace(/[.。]$/, "") : "";
  const sentences = [drawnWords(part.exact, how)];
  if (part.operator === "token") {
    sentences.push(gettext("Hatched: hidden from the model's attention, not painted over."));
  }
  if (part.metric === "srg") {
    sentences.push(
      gettext("The curve is the {unit} with the least relevant patches removed minus that with the most.", { unit }),
    );
  }
  if (!found.photo) {
    sentences.push(gettext("The run kept no picture; removed patches are shown on an empty ground."));
  }
  return joined(sentences);
}

function drawnWords(exact, how) {
  if (!how) return exact ? gettext("Drawn exactly.") : gettext("Approximate.");
  return exact ? gettext("Drawn exactly: {how}.", { how }) : gettext("Approximate: {how}.", { how });
}

/** As many figures as states, kept from step to step. */
function fitStates(root, count) {
  while (root.children.length > count) root.lastElementChild.remove();
  while (root.children.length < count) {
    root.append(build("figure", {}, build("canvas", { role: "img" }), build("figcaption")));
  }
}

function drawState(figure, found, part, { name, hidden, words }, step) {
  const order = decodeOrder(found.orders[name]);
  const count = Math.round(part.fractions[step] * order.length);
  const [canvas, caption] = figure.children;
  figure.dataset.row = name;
  paintState(canvas, found, part, hidden(order, count), gridOf(found, order.length));
  caption.replaceChildren(namedRow(name), `: ${words}`);
  const removed = removedWords(part, order.length, step);
  canvas.setAttribute("aria-label", gettext("What the model saw, {caption}: {removed}", { caption: caption.textContent, removed }));
}

/** Rows and columns of the grid whose patches an order lists. */
function gridOf(found, patches) {
  const grids = Object.values(found.maps).flatMap((byClass) => Object.values(byClass));
  const { rows, cols } = grids.find((grid) => grid.rows * grid.cols === patches) ?? {};
  const side = Math.round(Math.sqrt(patches));
  return rows ? { rows, cols } : { rows: side, cols: side };
}

/** The image as the model saw it: patches are squares of the model's input, whatever the image's shape. */
function paintState(canvas, found, part, hidden, { rows, cols }) {
  const side = Math.max(1, Math.round(420 / Math.max(rows, cols)));
  [canvas.width, canvas.height] = [cols * side, rows * side];
  const context = canvas.getContext("2d");
  paintSeen(context, found);
  const stand = standIn(canvas, found, part);
  for (const patch of hidden) {
    const [x, y] = [(patch % cols) * side, Math.floor(patch / cols) * side];
    context.drawImage(stand, x, y, side, side, x, y, side, side);
  }
}

function paintSeen(context, { photo, entry }) {
  const { width, height } = context.canvas;
  context.fillStyle = "#808080";
  context.fillRect(0, 0, width, height);
  if (!photo) return;
  const [left, top, right, bottom] = entry.view;
  const [x0, y0, x1, y1] = entry.seen;
  const [across, down] = [width / (x1 - x0), height / (y1 - y0)];
  const place = [(left - x0) * across, (top - y0) * down, (right - left) * across, (bottom - top) * down];
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, ...place);
}

/** What stands in the place of removed patches, as a picture of the whole input. */
function standIn({ width, height }, found, { operator }) {
  const canvas = build("canvas", { width, height });
  const context = canvas.getContext("2d");
  const fill = found.fills[operator];
  if (FLAT.includes(operator) && fill) {
    context.fillStyle = fill;
    context.fillRect(0, 0, width, height);
  } else if (operator === "token" || FLAT.includes(operator)) {
    hatch(context);
  } else if (operator === "noise") {
    speckle(context);
  } else {
    soften(context, found);
  }
  return canvas;
}

function hatch(context) {
  const { width, height } = context.canvas;
  context.fillStyle = "#70757a";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "#9a9fa4";
  context.lineWidth = 2;
  context.beginPath();
  for (let x = -height; x < width; x += 8) {
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
  }
  context.stroke();
}

/** Noise of fixed seed: what the model got was another draw. */
function speckle(context) {
  const { width, height } = context.canvas;
  const pixels = context.createImageData(width, height);
  let state = 1;
  for (let i = 0; i < pixels.data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    pixels.data[i] = i % 4 === 3 ? 255 : 64 + (state >>> 25);
  }
  context.putImageData(pixels, 0, 0);
}

/** A blur by shrinking and enlarging, which every browser can. */
function soften(context, found) {
  const { width, height } = context.canvas;
  const small = build("canvas", { width: Math.round(width / 20), height: Math.round(height / 20) });
  paintSeen(small.getContext("2d"), found);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
}
