"""What a test says of a method beside another, as a value; words are chosen from it in `xai.stats.words`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

NEGLIGIBLE = 0.56  # probability of superiority under which a difference is small (Vargha and Delaney 2000)

Unit = Literal["image", "group"]


class Outcome(StrEnum):
    """What a verdict comes to; colours, marks and counts depend on nothing else."""

    BETTER = "better"
    UNCLEAR = "unclear"
    WORSE = "worse"
    TOO_FEW = "too_few"
    SATURATED = "saturated"
    NOT_COMPARED = "not_compared"
    IMPRECISE = "imprecise"


@dataclass(frozen=True)
class Verdict:
    """One method compared with another on the same blocks: the numbers that decide, and what they come to.

    Args:
        other: What it is compared with; None where there is nothing to compare with.
        p: Two-sided p, as reported; None where nothing was tested, as for the reference itself.
        side: 1 if the test leans to the method as the better one, −1 if it leans to the other, else 0.
        superiority: Share of blocks on which the method is better; ties count half.
        difference: Median over blocks of its score minus the other's, in the metric's units.
        blocks: Independent blocks that were compared.
        unit: What a block is.
        alpha: Level of the test.
        smallest_p: The smallest p that so few blocks could have given.
        adjusted_over: Number of tests that Holm's correction of `p` accounts for; None: not corrected.
        identical: Whether all scores of the two are equal.
        saturated: Images on which the method's curve moves too little to rank anything.
        images: Images that `saturated` was counted on.
        imprecise: Whether the precision of the scores could explain what the test finds.
    """

    other: str | None
    p: float | None = None
    side: int = 0
    superiority: float | None = None
    difference: float | None = None
    blocks: int = 0
    unit: Unit = "image"
    alpha: float = 0.05
    smallest_p: float = 0.0
    adjusted_over: int | None = None
    identical: bool = False
    saturated: int = 0
    images: int = 0
    imprecise: bool = False

    @property
    def tested(self) -> Outcome:
        """What the test alone says, wherever the curves may be saturated."""
        if self.p is None:
            return Outcome.NOT_COMPARED
        if self.smallest_p > self.alpha and not self.identical:
            return Outcome.TOO_FEW
        if self.p >= self.alpha or self.side == 0:
            return Outcome.UNCLEAR
        if self.imprecise:
            return Outcome.IMPRECISE
        return Outcome.BETTER if self.side > 0 else Outcome.WORSE

    @property
    def outcome(self) -> Outcome:
        """What the comparison comes to: a method that is saturated on every image has not won anything."""
        if self.saturated and self.saturated == self.images and self.p is not None:
            return Outcome.SATURATED
        return self.tested

    @property
    def ahead(self) -> float | None:
        """Share of blocks on which the side that the test leans to is better."""
        if self.superiority is None:
            return None
        return self.superiority if self.side > 0 else 1 - self.superiority

    @property
    def negligible(self) -> bool:
        """Whether the test finds a difference that is too small to matter."""
        found = self.tested in (Outcome.BETTER, Outcome.WORSE)
        return found and self.ahead is not None and self.ahead < NEGLIGIBLE
