// Numbers and sentences of an evidence sheet: removal, localisation, agreement, scores.

const LOCALISATION = ["pointing_game", "pointing_game_clicks", "mass_accuracy", "rank_accuracy", "iou", "average_precision"];
const REMOVED_BY = {
  token: gettext("hidden from the model's attention"),
  mean: gettext("painted in the image's mean colour"),
  minimum: gettext("painted in the smallest value of the image"),
  constant: gettext("painted in one colour"),
  noise: gettext("replaced by noise"),
  blur: gettext("blurred"),
  rise_blur: gettext("blurred"),
  road: gettext("filled in from their surroundings"),
};

/** What a removal shows: "more" than any random draw, no more ("as much") than their mean, or "unclear". */
function removalVerdict({ clean, top, random }) {
  if (top >= clean || (random.length && top >= meanOf(random))) return "as much";
  return random.length && top < Math.min(...random) ? "more" : "unclear";
}

const VERDICTS = {
  more: gettext("more than every draw"),
  "as much": gettext("no more than random"),
  unclear: gettext("unclear"),
};

function removalSentence(removal) {
  const { row, target, value, removed, patches, clean, top, random } = removal;
  const words = {
    ...{ removed, patches, method: rowWords(row), value: valueName(value), target: readable(target) },
    ...{ clean: numberText(clean), top: numberText(top) },
  };
  const fact =
    top === clean
      ? gettext(
          "Removing the {removed} of {patches} patches that {method} ranks highest leaves the {value} for " +
            "{target} at {top}",
          words,
        )
      : gettext(
          "Removing the {removed} of {patches} patches that {method} ranks highest changes the {value} for " +
            "{target} from {clean} to {top}",
          words,
        );
  if (!random.length) return gettext("{fact}; no random patches were removed to compare.", { fact });
  const beside = gettext("{fact}; removing {removed} random ones leaves it at {values}.", {
    ...{ fact, removed, values: spread(random) },
  });
  return joined([beside, removalMeaning(removal)]);
}

function removalMeaning(removal) {
  const { clean, top, random } = removal;
  const verdict = removalVerdict(removal);
  if (verdict === "more") {
    return gettext("The top patches matter more to the model than any of the random ones; {chance}.", {
      chance: byChance(random),
    });
  }
  if (verdict === "unclear") {
    return gettext("The top patches do more than random ones on average, but not more than every draw.");
  }
  return top >= clean
    ? gettext(
        "Removing the top patches does not lower the value: on this image it does not confirm the map.",
      )
    : gettext(
        "Removing the top patches does no more than removing random ones: on this image it does not " +
          "confirm the map.",
      );
}

/** How often patches that mean nothing come out on top of so many draws. */
function byChance({ length }) {
  return gettext("random patches would, too, 1 time in {draws}", { draws: length + 1 });
}

/** "2 … 2.38 (3 draws)" */
function spread(values) {
  const [low, high] = [numberText(Math.min(...values)), numberText(Math.max(...values))];
  const draws = ngettext("{n} draw", "{n} draws", values.length);
  return gettext("{range} ({draws})", { range: low === high ? low : `${low} … ${high}`, draws });
}

function removalSection(found) {
  if (!found.removals.length) return null;
  const groups = Map.groupBy
    ? Map.groupBy(found.removals, removalGroup)
    : found.removals.reduce((all, one) => {
        return all.set(removalGroup(one), [...(all.get(removalGroup(one)) ?? []), one]);
      }, new Map());
  return sheetSection(gettext("What happens when the evidence is removed"), ...[...groups.values()].map(removalPart));
}

function removalGroup({ value, target, operator, removed }) {
  return JSON.stringify([value, target, operator, removed]);
}

/** Removals that can be read on one scale: a sentence, and a table with a picture in each line. */
function removalPart(removals) {
  const { value, target, operator, removed, patches } = removals[0];
  const caption = gettext("The model's {value} for {target} without {removed} of {patches} patches ({how})", {
    ...{ value: valueName(value), target: readable(target), removed, patches },
    how: REMOVED_BY[operator]
      ? gettext("removed: {how}", { how: REMOVED_BY[operator] })
      : gettext("operator: {operator}", { operator: readable(operator) }),
  });
  const scale = removalScale(removals);
  const lines = removals.map((one) => [
    namedRow(one.row),
    removalPlot(one, scale),
    datum(one.clean),
    datum(one.top),
    one.random.length ? datum(meanOf(one.random)) : "–",
    build("span", {}, ...one.random.flatMap((draw, i) => (i ? [", ", datum(draw)] : [datum(draw)]))),
    VERDICTS[removalVerdict(one)],
  ]);
  const headings = [
    gettext("Method"),
    plotKey(scale),
    ...[gettext("As it is"), gettext("Without top"), gettext("Without random, mean")],
    ...[gettext("Draws"), gettext("Top patches matter")],
  ];
  const sentences = removals.length <= 4 ? removals.map(removalSentence) : removalSummary(removals);
  return build(
    "div",
    {},
    ...sentences.map((sentence) => build("p", { class: "removal-said" }, sentence)),
    sheetTable(caption, headings, lines, "removals"),
  );
}

function removalSummary(removals) {
  const { value, removed, random } = removals[0];
  const by = (verdict) =>
    removals.filter((one) => removalVerdict(one) === verdict).map((one) => rowWords(one.row));
  const [more, same, unclear] = [by("more"), by("as much"), by("unclear")];
  const count = { count: more.length, total: removals.length, removed, value: valueName(value) };
  const sentences = [
    more.length
      ? gettext(
          "For {count} of {total} methods removing the {removed} top patches lowers the {value} more than " +
            "any random draw: {methods} ({chance}).",
          { ...count, methods: listed(more), chance: byChance(random) },
        )
      : gettext(
          "For {count} of {total} methods removing the {removed} top patches lowers the {value} more than " +
            "any random draw.",
          count,
        ),
  ];
  if (same.length) {
    sentences.push(
      ngettext(
        "For {methods} removing the top patches does no more than removing random ones: on this image it " +
          "does not confirm this map.",
        "For {methods} removing the top patches does no more than removing random ones: on this image it " +
          "does not confirm these maps.",
        same.length,
        { methods: listed(same) },
      ),
    );
  }
  if (unclear.length) {
    sentences.push(gettext("Not told from random by these draws: {methods}.", { methods: listed(unclear) }));
  }
  return sentences;
}

function removalScale(removals) {
  const all = removals.flatMap(({ clean, top, random }) => [clean, top, ...random]);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = (high - low || Math.abs(high) || 1) * 0.04;
  return { low: low - room, high: high + room };
}

const PLOT = { width: 240, height: 26 };

/** Bar from the clean value to that without the top patches; dots: random draws, the tick: their mean. */
function removalPlot({ row, clean, top, random }, { low, high }) {
  const at = (value) => ((value - low) / (high - low)) * PLOT.width;
  const middle = PLOT.height / 2;
  const marks = [
    buildSvg("line", { x1: 0, x2: PLOT.width, y1: middle, y2: middle, class: "plot-axis" }),
    buildSvg("rect", {
      x: Math.min(at(clean), at(top)),
      width: Math.abs(at(top) - at(clean)),
      y: middle - 4,
      height: 8,
      class: "plot-bar",
    }),
    buildSvg("line", { x1: at(clean), x2: at(clean), y1: 4, y2: PLOT.height - 4, class: "plot-clean" }),
    buildSvg("path", { d: diamond(at(top), middle, 6), class: "plot-top" }),
    ...random.map((draw) => buildSvg("circle", { cx: at(draw), cy: middle, r: 4, class: "plot-draw" })),
  ];
  if (random.length) {
    const x = at(meanOf(random));
    marks.push(buildSvg("line", { x1: x, x2: x, y1: 3, y2: PLOT.height - 3, class: "plot-mean" }));
  }
  const values = { method: rowWords(row), clean: numberText(clean), top: numberText(top) };
  const label = random.length
    ? gettext("{method}: {clean} as it is, {top} without the top patches, {values} without random ones", {
        ...{ ...values, values: spread(random) },
      })
    : gettext("{method}: {clean} as it is, {top} without the top patches", values);
  return buildSvg(
    "svg",
    { viewBox: `-8 0 ${PLOT.width + 16} ${PLOT.height}`, role: "img", "aria-label": label, class: "plot" },
    ...marks,
  );
}

function diamond(x, y, size) {
  return `M${x - size},${y}L${x},${y - size}L${x + size},${y}L${x},${y + size}Z`;
}

function plotKey({ low, high }) {
  const mark = (kind, text) => build("span", { class: `key key-${kind}` }, text);
  return build(
    "span",
    { class: "plot-key" },
    build("span", {}, `${numberText(low)} … ${numberText(high)}:`),
    mark("clean", gettext("as it is")),
    mark("top", gettext("without top")),
    mark("draw", gettext("without random")),
  );
}

/** Pairs of methods (of controls, if there is none), least similar first, without those that have no value. */
function agreementPairs({ rows, spearman }) {
  const controls = new Set(page.rows.filter(({ control }) => control).map(({ name }) => name));
  const pairs = rows
    .flatMap((one, i) => rows.slice(i + 1).map((other, j) => ({ one, other, value: spearman[i][i + 1 + j] })))
    .filter(({ value }) => value !== null)
    .sort((a, b) => a.value - b.value);
  const methods = pairs.filter(({ one, other }) => !controls.has(one) && !controls.has(other));
  return methods.length ? methods : pairs;
}

function agreementSection(found) {
  const { agreement, entry } = found;
  if (!agreement || agreement.rows.length < 2) return null;
  const pairs = agreementPairs(agreement);
  const lines = agreement.rows.map((row, i) => [
    namedRow(row),
    ...agreement.spearman[i].map((value) => agreementCell(value)),
  ]);
  const whole =
    entry.disagreement === null
      ? null
      : [
          gettext("Disagreement of the methods on this image (1 − mean correlation, controls left out):"),
          ...[" ", datum(entry.disagreement, hundredths)],
        ];
  return sheetSection(
    gettext("Do the methods agree on this image?"),
    build("p", { class: "agreement-said" }, agreementSentence(pairs)),
    whole && build("p", {}, ...whole),
    sheetTable(
      gettext(
        "Spearman's rank correlation between the maps: 1 same order of patches, 0 unrelated, −1 reversed",
      ),
      [gettext("Map"), ...agreement.rows.map(namedRow)],
      lines,
      "agreement",
    ),
  );
}

function agreementSentence(pairs) {
  if (!pairs.length) {
    return gettext("No two maps can be compared: a constant map has no order of patches.");
  }
  const [least, most] = [pairs[0], pairs.at(-1)];
  const pair = ({ one, other, value }) =>
    gettext("{pair} ({value})", { pair: listed([rowWords(one), rowWords(other)]), value: hundredths(value) });
  if (pairs.length === 1) {
    return gettext("The rank correlation of {pair} says how far the two maps agree.", { pair: pair(least) });
  }
  return gettext("Least alike are the maps of {least}; most alike those of {most}.", {
    ...{ least: pair(least), most: pair(most) },
  });
}

/** Blue for the same order, orange for a reversed one, nearly white for none. */
function agreementCell(value) {
  const cell = build("td", {}, datum(value, hundredths));
  if (value === null) return cell;
  const strength = Math.min(1, Math.abs(value));
  const ends = value < 0 ? [195, 85, 3] : [8, 72, 143];
  const mixed = ends.map((end) => Math.round(243 + (end - 243) * strength));
  cell.style.backgroundColor = `rgb(${mixed.join(" ")})`;
  cell.style.color = luminance(mixed) > 0.18 ? "#000000" : "#ffffff"; // at least 4.5 to 1
  return cell;
}

/** Relative luminance as WCAG defines it, of sRGB in [0, 255]. */
function luminance(colour) {
  const [red, green, blue] = colour.map((one) => {
    const part = one / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Parts that have a score of this image, with the direction that is better if the page knows it. */
function scoredParts(found) {
  return page.parts
    .map((part, place) => ({ ...part, better: page.summary?.parts?.[place]?.higher_is_better ?? null }))
    .filter(({ key }) => Object.values(found.scores[key] ?? {}).some((score) => score !== null));
}

function isLocalisation({ metric, protocol }) {
  return protocol === "maps" && LOCALISATION.includes(metric);
}

function localisationSection(found) {
  const parts = found.truth ? scoredParts(found).filter(isLocalisation) : [];
  if (!parts.length) return null;
  return sheetSection(
    gettext("Does the evidence lie where the image was changed?"),
    build(
      "p",
      {},
      gettext(
        "Scores of each map against the area known to be tampered with (outlined in the pictures). A model " +
          "may rightly use evidence elsewhere, so a low score is a question to the model as much as to the method.",
      ),
    ),
    scoreTable(gettext("Localisation on this image"), parts, found),
  );
}

function scoreSection(found) {
  const parts = scoredParts(found).filter((part) => !(found.truth && isLocalisation(part)));
  if (!parts.length) return null;
  return sheetSection(
    gettext("Scores of this image"),
    build(
      "p",
      {},
      gettext("One image ranks nothing: the page's tables say what holds over many. Bold: best method here."),
    ),
    scoreTable(gettext("Score by metric and method; in brackets the protocol"), parts, found),
  );
}

function scoreTable(caption, parts, found) {
  const rows = page.rows.filter(({ name }) => parts.some(({ key }) => name in found.scores[key]));
  const best = parts.map((part) => bestScore(part, rows, found));
  const headings = parts.map(({ metric, protocol, better }) => {
    const arrow = better === null ? "" : better ? "\u00a0↑" : "\u00a0↓";
    const title = better === null ? null : better ? gettext("higher is better") : gettext("lower is better");
    const of = build("span", { class: "of", title: givenName("protocols", protocol) }, `(${said("protocols", protocol)})`);
    const name = build("span", { title: givenName("metrics", metric) }, said("metrics", metric));
    return build("span", { title }, name, arrow, " ", of);
  });
  const lines = rows.map(({ name, control }) => [
    build("span", {}, namedRow(name), control ? ` ${gettext("(control)")}` : ""),
    ...parts.map(({ key }, i) => {
      const score = found.scores[key][name];
      const isBest = !control && score !== null && score !== undefined && score === best[i];
      return isBest ? build("strong", {}, datum(score)) : datum(score);
    }),
  ]);
  return sheetTable(gettext("{caption}; ↑ higher, ↓ lower is better", { caption }), [gettext("Method"), ...headings], lines, "scores");
}

function bestScore({ key, better }, rows, found) {
  const scores = rows.filter(({ control }) => !control).map(({ name }) => found.scores[key][name]);
  const known = scores.filter((score) => score !== null && score !== undefined);
  if (better === null || known.length < 2) return null;
  return better ? Math.max(...known) : Math.min(...known);
}
