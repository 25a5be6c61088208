"""How an outcome is named, marked and coloured wherever methods are compared with random maps."""

from math import isfinite

from xai.core.language import gettext_noop
from xai.report.tables import Tone
from xai.stats import Analysis, MethodSummary, Outcome

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


def ranked(analysis: Analysis) -> list[MethodSummary]:
    """Methods that have a mean, best mean rank first."""
    return [one for one in analysis.ranked if isfinite(one.mean)]
