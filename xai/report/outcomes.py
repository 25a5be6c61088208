"""How an outcome is named, marked and coloured wherever methods are compared with random maps."""

from collections.abc import Mapping
from typing import Any

from xai.report.tables import Tone
from xai.stats import Outcome

NAMES = {
    Outcome.BETTER: "better",
    Outcome.UNCLEAR: "not distinguishable",
    Outcome.WORSE: "worse",
    Outcome.TOO_FEW: "too few to tell",
    Outcome.SATURATED: "saturated",
    Outcome.NOT_COMPARED: "not compared",
}
SIGNS = {
    Outcome.BETTER: "▲",
    Outcome.UNCLEAR: "○",
    Outcome.WORSE: "▼",
    Outcome.TOO_FEW: "?",
    Outcome.SATURATED: "–",
    Outcome.NOT_COMPARED: "",
}
TONES: dict[Outcome, Tone] = {Outcome.BETTER: "good", Outcome.WORSE: "bad", Outcome.SATURATED: "warn"}


def outcome_of(method: Mapping[str, Any]) -> Outcome:
    """Of a method of `summary.parts[…].analysis.methods`."""
    return Outcome(method["outcome"])


def ranked(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Methods of a part that have a mean, best mean rank first."""
    found = [one for one in part["analysis"]["methods"] if one["mean"] is not None]
    return sorted(found, key=lambda one: one["mean_rank"])
