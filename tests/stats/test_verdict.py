"""A verdict is a value: words are made from it and from nothing else, and nothing is made from words."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import xai
from xai.stats import Outcome, Verdict, phrase, short

CLEAR = Verdict("random", p=0.0004, side=1, superiority=0.9, difference=0.5, blocks=40, adjusted_over=3)
CASES = [
    (CLEAR, Outcome.BETTER, "better than random, p<0.001 (Holm)", "better, p<0.001"),
    (
        replace(CLEAR, p=0.021, side=-1, superiority=0.2, adjusted_over=None),
        Outcome.WORSE,
        "worse than random, p=0.021",
        "worse, p=0.021",
    ),
    (
        replace(CLEAR, p=0.31),
        Outcome.UNCLEAR,
        "not distinguishable from random, p=0.31 (Holm)",
        "not distinguishable, p=0.31",
    ),
    (
        replace(CLEAR, superiority=0.52, difference=-0.125),
        Outcome.BETTER,
        "better than random, p<0.001 (Holm), but the effect is small: better on 52% of images, median −0.125",
        "better, p<0.001, but the effect is small: better on 52% of images, median −0.125",
    ),
    (
        replace(CLEAR, p=1.0, blocks=3, unit="group", smallest_p=0.25),
        Outcome.TOO_FEW,
        "cannot be told from random: 3 groups are too few (smallest possible p=0.25)",
        "cannot be told: 3 groups are too few (smallest possible p=0.25)",
    ),
    (
        replace(CLEAR, saturated=40, images=40),
        Outcome.SATURATED,
        "saturated on every image, ranks nothing (better than random, p<0.001 (Holm))",
        "saturated on every image, ranks nothing (better, p<0.001)",
    ),
    (
        replace(CLEAR, saturated=21, images=40),
        Outcome.BETTER,
        "better than random, p<0.001 (Holm), but saturated on 21 of 40 images",
        "better, p<0.001, but saturated on 21 of 40 images",
    ),
    (Verdict("random"), Outcome.NOT_COMPARED, "the reference", "the reference"),
    (Verdict(None), Outcome.NOT_COMPARED, "no reference to compare with", "no reference to compare with"),
    (
        replace(CLEAR, other="old", p=1.0, side=0, identical=True, smallest_p=0.5),
        Outcome.UNCLEAR,
        "identical to old",
        "identical to old",
    ),
]


@pytest.mark.parametrize(("verdict", "outcome", "sentence", "cell"), CASES)
def test_an_outcome_and_its_words(verdict: Verdict, outcome: Outcome, sentence: str, cell: str) -> None:
    assert verdict.outcome is outcome
    assert (phrase(verdict), short(verdict)) == (sentence, cell)


def test_a_test_that_leans_to_no_side_finds_nothing() -> None:
    assert replace(CLEAR, side=0).outcome is Outcome.UNCLEAR


def test_only_a_difference_that_was_found_can_be_negligible() -> None:
    assert replace(CLEAR, superiority=0.52).negligible
    assert not CLEAR.negligible and not replace(CLEAR, p=0.5, superiority=0.52).negligible


def test_no_module_takes_a_verdict_to_pieces() -> None:
    """Sentences are for readers: colours, marks and counts follow from `Verdict.outcome`."""
    methods = "split|startswith|endswith|replace|partition|removeprefix|lower"
    parsing = re.compile(rf"""verdict["'\])]*\.({methods})\(|in \w*\.?verdict\b""")
    package = Path(xai.__file__).parent
    read = {path: path.read_text("utf-8") for ending in ("py", "js") for path in package.rglob(f"*.{ending}")}
    assert len(read) > 100
    assert [path.name for path, text in read.items() if parsing.search(text)] == []
    assert parsing.search('one["verdict"].split(" ")') and parsing.search(
        "method.verdict.startswith('worse')"
    )
