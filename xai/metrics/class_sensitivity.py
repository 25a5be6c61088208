"""Does the map depend on the class it is asked about?"""

from torch import Tensor

from xai.metrics.base import MetricInfo, register
from xai.metrics.similarity import spearman


@register(
    MetricInfo(
        name="class_sensitivity",
        higher_is_better=True,
        range=(0.0, 1.0),
        reference="after the random logit test, Sixt et al. 2020, arXiv 1912.09818",
        summary="How different the maps of two classes are: 0 the same (fails), ½ unrelated, 1 opposite.",
        needs="class",
        against_random=False,
    )
)
def class_sensitivity(relevance: Tensor, other: Tensor) -> Tensor:
    """(1 − Spearman's ρ) / 2 between the map of the class explained and that of another class.

    0 says that the method shows the same whatever it is asked, so its map cannot be evidence for a class.
    Opposite maps are what a signed method should give for the two sides of one margin, so ρ = −1 is no
    failure, and |ρ| would call it one. Sizes of gradients (saliency) are the same for both sides of a
    two-class margin, and score 0 there by construction. Patches that matter to both classes keep good
    methods below 1: read it as a test against 0, not as a ranking.

    Args:
        relevance: (B, rows, cols) for the class explained.
        other: (B, rows, cols) by the same method for another class, best the runner-up.

    Returns:
        (B,) float64 on the CPU.
    """
    return (1 - spearman(relevance, other)) / 2
