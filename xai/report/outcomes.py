"""How an outcome is named, marked and coloured wherever methods are compared with random maps."""

from collections.abc import Mapping
from typing import Any

from xai.core.language import gettext_noop
from xai.report.tables import Tone
from xai.stats import Outcome

NAMES = {
    Outcome.BETTER: gettext_noop("better"),
    Outcome.UNCLEAR: gettext_noop("not distinguishable"),
    Outcome.WORSE: gettext_noop("worse"),
    Outcome.TOO_FEW: gettext_noop("too few to tell"),
    Outcome.SATURATED: gettext_noop("saturated"),
    Outcome.NOT_COMPARED: gettext_noop("not compared"),
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
