// What becomes of the map and the answer when the picture gets worse.

const STEADY = { kept: "good", shifted: "warn", lost: "bad" };

function stabilitySection({ stability: found }) {
  if (!found) return null;
  const clean = [gettext("as it is"), "–", "–", datum(found.probability, percentText), datum(found.margin), "", ""];
  const lines = found.degraded.map((one) => [
    one.title,
    datum(one.spearman, hundredths),
    datum(one.overlap, percentText),
    datum(one.probability, percentText),
    datum(one.margin),
    readable(one.predicted),
    build("span", { class: `tag ${STEADY[one.verdict] ?? "plain"}` }, one.said),
  ]);
  const label = readable(found.target);
  return sheetSection(
    gettext("Does it hold when the picture gets worse?"),
    ...found.sentences.map((sentence) => build("p", { class: "stability-said" }, readable(sentence))),
    sheetTable(
      gettext("The map for {label} after each degradation, beside the map of the image as it is", { label }),
      [
        ...[gettext("Degradation"), gettext("Agreement"), gettext("Strongest tenth the same")],
        ...[gettext("Probability of {label}", { label }), gettext("Margin"), gettext("Predicted"), gettext("Map")],
      ],
      [clean, ...lines],
      "stability",
    ),
  );
}
