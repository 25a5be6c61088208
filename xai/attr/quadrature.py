"""Points and weights for integrals over the presence of patches, ∫₀¹ f(α) dα."""

import numpy as np

from xai.attr.options import check_option
from xai.core import UsageError

RULES = ("midpoint", "gauss_legendre")


def presence_path(n_steps: int, rule: str, power: int) -> list[tuple[float, float]]:
    """(presence α, weight) of each step, for the substitution α = s^power.

    Attention that a few prefix tokens share with hundreds of patches changes fastest near α = 0; a power
    above 1 puts more of the points there. No point is at 0, where the logarithm of the presence ends.

    Args:
        n_steps: Number of points.
        rule: `midpoint` or `gauss_legendre`, in s.
        power: 1 is the plain integral.

    Raises:
        UsageError: For an unknown rule, or a number below 1.
    """
    check_option("rule", rule, RULES)
    if n_steps < 1 or power < 1:
        raise UsageError(f"n_steps={n_steps}, power={power}: 1 or more is needed.")
    if rule == "midpoint":
        s, weight = (np.arange(n_steps) + 0.5) / n_steps, np.full(n_steps, 1 / n_steps)
    else:
        s, weight = np.polynomial.legendre.leggauss(n_steps)
        s, weight = (s + 1) / 2, weight / 2
    return list(zip((s**power).tolist(), (weight * power * s ** (power - 1)).tolist(), strict=True))
