"""Verdicts: what a test and its effect mean, in words that claim no more."""

NEGLIGIBLE = 0.56  # probability of superiority under which a difference is small (Vargha and Delaney 2000)


def p_value(p: float) -> str:
    """`p<0.001`, `p=0.012`, `p=0.34`; what is under 0.05 does not read 0.05."""
    if p < 0.001:
        return "p<0.001"
    if p >= 0.0995:
        return "p=1" if p >= 0.995 else f"p={p:.2f}"
    return f"p={p:.3g}" if 0.0495 <= p < 0.05 else f"p={p:.2g}"


def plural(count: int, unit: str) -> str:
    """`1 image`, `5 groups`."""
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def signed(value: float) -> str:
    """Three digits with a sign."""
    return f"{value:+.3g}".replace("-", "−")


def compared(
    other: str,
    p: float,
    side: int,
    superiority: float,
    difference: float,
    unit: str,
    alpha: float,
    adjusted: bool = True,
) -> str:
    """What a paired test says of a method against another.

    Args:
        other: What it is compared with.
        p: As reported.
        side: 1 if the test leans to the method, −1 if it leans to the other.
        superiority: Share of blocks on which the method is better.
        difference: Median paired difference, in the metric's units.
        unit: "image" or "group".
        alpha: Level of the test.
        adjusted: Whether `p` is Holm's.
    """
    said = f"{p_value(p)} (Holm)" if adjusted else p_value(p)
    if p >= alpha or side == 0:
        return f"not distinguishable from {other}, {said}"
    verdict = f"{'better' if side > 0 else 'worse'} than {other}, {said}"
    ahead = superiority if side > 0 else 1 - superiority
    if ahead < NEGLIGIBLE:
        which = "better" if side > 0 else "worse"
        verdict += (
            f", but the effect is small: {which} on {ahead:.0%} of {unit}s, median {signed(difference)}"
        )
    return verdict


def too_few(other: str, blocks: int, unit: str, smallest: float) -> str:
    """What is said where no outcome could have been significant."""
    return (
        f"cannot be told from {other}: {plural(blocks, unit)} "
        f"{'is' if blocks == 1 else 'are'} too few (smallest possible {p_value(smallest)})"
    )
