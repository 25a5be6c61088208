"""Which frames of a video are looked at: at equal times, every so many, or so many of the whole."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from xai.core import UsageError

UNITS = {"s": Fraction(1), "ms": Fraction(1, 1000), "min": Fraction(60), "": Fraction(1)}
EVERY = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(s|ms|min|f|)\s*")


@dataclass(frozen=True)
class Sampling:
    """Exactly one of the three.

    Args:
        seconds: The frames shown at 0, 1, 2 … times so many seconds; one that is shown longer is taken once.
        step: Every so many frames, the first one first.
        number: So many, evenly spread: those shown in the middle of as many equal parts of the video.
    """

    seconds: Fraction | None = None
    step: int | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.seconds, self.step, self.number) if value is not None]
        if len(given) != 1 or given[0] <= 0:
            raise UsageError("Frames are chosen by one of seconds, step and number, above 0.")

    def wanted(self, since: Fraction, length: Fraction) -> Fraction | None:
        """The first time from `since` on at which the frame shown is taken; None: there is none any more.

        Args:
            since: Seconds from the first frame.
            length: Of the video in seconds; counts for a `number` of frames.
        """
        if self.seconds is not None:
            return ceil(since / self.seconds) * self.seconds
        if self.number is None or not length:
            return None
        part = length / self.number
        place = ceil(since / part - Fraction(1, 2))
        return (place + Fraction(1, 2)) * part if place < self.number else None

    def describe(self) -> dict[str, float | int]:
        """What was asked for, JSON-ready."""
        if self.seconds is not None:
            return {"every_seconds": float(self.seconds)}
        return {"every_frames": self.step} if self.step is not None else {"frames": self.number or 0}


DEFAULT_SAMPLING = Sampling(number=32)
"""As many frames as DeepfakeBench tests a video with."""


def parse_sampling(every: str | float | None = None, frames: int | None = None) -> Sampling:
    """Read `1s`, `0.5s`, `500ms`, `2min`, `10f` (every tenth frame) or plain seconds; or a number of frames.

    Raises:
        UsageError: Both are given, or something else.
    """
    if every is not None and frames is not None:
        raise UsageError("--every and --frames both say which frames.", "Give one of them.")
    if every is None:
        if frames is not None and frames < 1:
            raise UsageError(f"{frames} frames are none to look at.", "Give --frames 1 or more.")
        return DEFAULT_SAMPLING if frames is None else Sampling(number=frames)
    found = EVERY.fullmatch(str(every))
    amount = Fraction(found[1]) if found else Fraction(0)
    if not found or amount <= 0 or (found[2] == "f" and amount.denominator != 1):
        raise UsageError(
            f"{every!r} does not say how often.", "Write 1s, 0.5s, 500ms, 2min, or 10f for every tenth frame."
        )
    return Sampling(step=int(amount)) if found[2] == "f" else Sampling(seconds=amount * UNITS[found[2]])
