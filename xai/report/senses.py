"""What a verdict against random maps comes to, in one of a few words."""

from collections.abc import Mapping
from typing import Any

BETTER, UNCLEAR, WORSE = "better", "not distinguishable", "worse"
TOO_FEW, SATURATED, NO_TEST = "too few to tell", "saturated", "not compared"
SENSES = (BETTER, UNCLEAR, WORSE, TOO_FEW, SATURATED, NO_TEST)
SIGNS = {BETTER: "▲", UNCLEAR: "○", WORSE: "▼", TOO_FEW: "?", SATURATED: "–", NO_TEST: ""}


def sense(method: Mapping[str, Any]) -> str:
    """One of `SENSES`, from the verdict of a method of `summary.parts[…].analysis.methods`."""
    if method["p_reference"] is None:
        return NO_TEST
    starts = {"better": BETTER, "not": UNCLEAR, "worse": WORSE, "cannot": TOO_FEW, "saturated": SATURATED}
    return starts.get(method["verdict"].split(" ", 1)[0], UNCLEAR)
