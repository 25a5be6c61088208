"""Where the points of an integral along a path from absence to presence are put."""

import math
from collections.abc import Callable

import numpy as np

from xai.core.options import check_counts, check_option

Curve = Callable[[np.ndarray], np.ndarray]

RULES = ("midpoint", "gauss_legendre")
_RANGE = math.log(1e8)


def _power(p: int) -> tuple[Curve, Curve]:
    return lambda s: s**p, lambda s: p * s ** (p - 1)


# of the presence along the path: name → α(s) and dα/ds, both on [0, 1]
PATHS: dict[str, tuple[Curve, Curve]] = {
    "uniform": _power(1),
    "s^2": _power(2),
    "s^3": _power(3),
    "s^4": _power(4),
    "s^8": _power(8),
    "logarithmic": (
        lambda s: np.expm1(_RANGE * s) / math.expm1(_RANGE),
        lambda s: _RANGE * np.exp(_RANGE * s) / math.expm1(_RANGE),
    ),
}


def presence_path(n_steps: int, path: str, rule: str) -> list[tuple[float, float]]:
    """(presence α, weight) of each step, for a substitution α(s).

    Softmax works on ratios: a thousandth of every patch may still outweigh the class token, so the score
    can change over many orders of magnitude of α. `logarithmic`, α = (10⁸ˢ − 1) / (10⁸ − 1), is even in
    log α down to about 10⁻⁸ and linear below. No point is at 0, where the logarithm of the presence ends.

    Args:
        n_steps: Number of points.
        path: A name of `PATHS`.
        rule: `midpoint` or `gauss_legendre`, in s.

    Raises:
        UsageError: For an unknown name, or fewer than one step.
    """
    check_option("path", path, PATHS)
    check_option("rule", rule, RULES)
    check_counts(n_steps=n_steps)
    if rule == "midpoint":
        s, weight = (np.arange(n_steps) + 0.5) / n_steps, np.full(n_steps, 1 / n_steps)
    else:
        s, weight = np.polynomial.legendre.leggauss(n_steps)
        s, weight = (s + 1) / 2, weight / 2
    alpha, slope = PATHS[path]
    return list(zip(alpha(s).tolist(), (weight * slope(s)).tolist(), strict=True))
