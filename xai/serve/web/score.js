// The model's answer without what was brushed away, beside its answer without random regions of that size.

let asking = false;
let askAgain = false;

const probabilityOf = (margin) => 1 / (1 + Math.exp(-margin));

function startScore() {
  document.getElementById("random").addEventListener("submit", (event) => {
    event.preventDefault();
    guardedly(compareWithRandom);
  });
}

const asked = (draws) => ({
  ...{ image: current, cells: [...region().cells].sort((a, b) => a - b), target: document.getElementById("target").value },
  ...{ draws, seed: draws ? Math.trunc(Number(document.getElementById("seed").value)) || 0 : 0 },
});

/** Ask for the score; while an answer is awaited only the latest question is kept. */
async function askScore() {
  if (asking) {
    askAgain = true;
    return;
  }
  if (current === null || !region().cells.size) return;
  asking = true;
  await guardedly(() => worked("region", asked(0)));
  asking = false;
  if (askAgain) {
    askAgain = false;
    askScore();
  }
}

async function compareWithRandom() {
  const button = document.getElementById("compare");
  button.disabled = true;
  document.getElementById("finding").textContent = gettext("Removing random regions …");
  try {
    await worked("region", asked(Number(document.getElementById("draws").value)));
  } finally {
    if (current !== null) showScore();
  }
}

/** Take in an answer; one about what is not shown any more is kept for its image if it still fits. */
function addRegion(event) {
  const known = regions.get(event.image);
  if (!known || !held.has(event.image) || !sameCells(known.cells, event.cells)) return;
  known.answer = event;
  if (event.draws) known.compared = event;
  if (event.image === current) showScore();
}

function sameCells(cells, list) {
  return cells.size === list.length && list.every((cell) => cells.has(cell));
}

function showScore() {
  const { cells, before, answer, compared } = region();
  const { entry } = held.get(current);
  const target = document.getElementById("target").value;
  const known = answer && answer.target === target && sameCells(cells, answer.cells) ? answer : null;
  document.getElementById("undo").disabled = !before.length;
  document.getElementById("clear").disabled = !cells.size;
  showNumbers(entry, target, known);
  const patches = entry.grid[0] * entry.grid[1];
  const share = { n: cells.size, patches, share: percentText(cells.size / patches) };
  const count = cells.size ? gettext("{n} of {patches} patches removed ({share}).", share) : gettext("Nothing is removed yet.");
  document.getElementById("removed").textContent = known ? joined([count, operatorWords(known.operator)]) : count;
  const fits = 3 * cells.size <= patches;
  document.getElementById("compare").disabled = !known || !fits;
  const finding = document.getElementById("finding");
  const drawn = compared && known && compared.target === target && compared.random.length ? compared : null;
  const strip = document.getElementById("strip");
  strip.hidden = !drawn;
  if (drawn) {
    strip.replaceChildren(stripOf(drawn));
    finding.textContent = findingWords(drawn);
  } else if (cells.size && !fits) {
    finding.textContent = gettext("More than a third is removed: random regions of this size do not fit elsewhere.");
  } else {
    finding.textContent = "";
  }
}

function showNumbers(entry, target, known) {
  const label = readable(target);
  const clean = known ? probabilityOf(known.clean) : entry.probabilities[target];
  const first = build("span", { class: "was" }, percentText(clean));
  const second = known ? build("strong", {}, percentText(probabilityOf(known.without))) : null;
  const margin = known ? build("span", { class: "muted small" }, gettext("margin {before} → {after}", { before: hundredths(known.clean), after: hundredths(known.without) })) : null;
  const parts = [build("span", {}, gettext("probability of {label}", { label })), first, second && " → ", second, margin];
  document.getElementById("numbers").replaceChildren(...parts.filter(Boolean));
}

function operatorWords(operator) {
  if (operator === "token") return gettext("The model does without them altogether: they are truly absent, and nothing stands in their place.");
  if (operator === "mean") return gettext("This model cannot do without patches: they are painted in the image's mean colour, which it sees.");
  return gettext("They are replaced: {operator}.", { operator: readable(operator) });
}

const moreThanAll = (values) => gettext("Your region lowers the margin by {drop}, more than every random one.", values);
const moreThanMost = (values) => gettext("Your region lowers the margin by {drop}, more than most random ones.", values);
const notMore = (values) => gettext("Your region lowers the margin by {drop}, which does not stand out from random ones.", values);

function findingWords({ random, without, clean, p, seed }) {
  const lower = random.filter((one) => one <= without).length;
  const fact = gettext("{lower} of {n} random regions of the same size elsewhere lower the margin as much or more (p = {p}, seed {seed}).", { lower, n: random.length, p: p.toFixed(p < 0.01 ? 3 : 2), seed });
  if (without >= clean) return joined([gettext("Without your region the model is no less sure."), fact]);
  const sentence = lower === 0 ? moreThanAll : p <= 0.05 ? moreThanMost : notMore;
  const verdict = sentence({ drop: numberText(clean - without) });
  return joined([verdict, fact]);
}

/** The margins of all random regions as dots on a line, with those of the brushed region and the whole image. */
function stripOf({ random, without, clean, target }) {
  const all = [...random, without, clean];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const pad = (high - low || 1) * 0.08;
  const x = (value) => 10 + (220 * (value - low + pad)) / (high - low + 2 * pad);
  const words = gettext("Margin of {label}: whole image {clean}, without your region {without}, without random regions {low} to {high}", {
    ...{ label: readable(target), clean: hundredths(clean), without: hundredths(without) },
    ...{ low: hundredths(Math.min(...random)), high: hundredths(Math.max(...random)) },
  });
  const dots = random.map((value, i) => buildSvg("circle", { class: "dot", cx: x(value), cy: 48 + ((i * 7) % 5) * 4 - 8, r: 3 }));
  const mark = (value, kind, text, y) => {
    const side = x(value) < 120 ? "start" : "end";
    return [
      buildSvg("line", { class: kind, x1: x(value), x2: x(value), y1: y + 4, y2: 66 }),
      buildSvg("text", { class: kind, x: x(value), y, "text-anchor": side }, text),
    ];
  };
  const ticks = [low, high].map((value, i) => buildSvg("text", { class: "tick", x: x(value), y: 83, "text-anchor": i ? "end" : "start" }, hundredths(value)));
  const plot = buildSvg("svg", { viewBox: "0 0 240 102", role: "img", "aria-label": words },
    buildSvg("line", { class: "axis", x1: 6, x2: 234, y1: 68, y2: 68 }), ...dots,
    ...mark(clean, "whole", gettext("whole image"), 27), ...mark(without, "yours", gettext("your region"), 11), ...ticks,
    buildSvg("text", { class: "tick", x: 120, y: 98, "text-anchor": "middle" }, gettext("margin of {label}", { label: readable(target) })));
  return plot;
}
