"""Does the map stay when the picture gets worse, where the answer stays? How alike are maps of other images?

What is done to pictures, before preprocessing, is `xai.data.degradations`; here they come as pixels. A map
that ignores the image stays the same whatever happens to it, as the central Gaussian among the controls does.
So a high number is no praise by itself: set it beside those of the controls, and beside what the method's
maps of different images agree by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.core import UsageError, problem_type_of
from xai.core.order import top_shares
from xai.core.target import Target, image_targets
from xai.metrics.base import MetricInfo
from xai.metrics.captum_metrics import explain_each
from xai.metrics.registry import register
from xai.metrics.similarity import spearman


@dataclass(frozen=True, eq=False)
class MapRobustness:
    """What is left of maps at every level; float64 (kept: bool) on the CPU.

    Args:
        spearman: (..., B, R) rank correlation with the map of the image as it is; 0 of a constant map.
        overlap: (..., B, R) share of the strongest tenth of patches that is the same.
        kept: (B, R) whether the model's answer is the same.
    """

    spearman: Tensor
    overlap: Tensor
    kept: Tensor

    @property
    def value(self) -> Tensor:
        """(..., B) mean rank correlation over the levels that keep the answer; NaN where none does."""
        kept = self.kept.expand_as(self.spearman)
        return torch.where(kept, self.spearman, torch.nan).nanmean(-1)


def robustness(
    classifier: nn.Module,
    explain: Callable[[Tensor, Any], Tensor],
    pixels: Tensor,
    degraded: Sequence[Tensor],
    target: Target = None,
    *,
    batch_size: int = 32,
) -> MapRobustness:
    """Explain images as they are and at every level, always for the class that is explained of the clean one.

    Costs 1 + R explanations and forward passes an image.

    Args:
        classifier: Pixels in, logits out.
        explain: (pixels (S, 3, H, W), target) → relevance (S, rows, cols), as `sensitivity_max` takes it.
        pixels: (B, 3, H, W).
        degraded: R tensors of that shape: the same images after each degradation, by the same preprocessing.
        target: Class index, `Margin`, or one of them per image; None for the class of the clean image.
        batch_size: Images at a time.

    Raises:
        UsageError: For pixels of other shapes, or no level.

    Examples:
        >>> import xai
        >>> from xai import attr
        >>> from xai.data import shipped_samples
        >>> from xai.data.degradations import levels
        >>> from xai.metrics.robustness import robustness
        >>> classifier = xai.load("demo")
        >>> image = shipped_samples()[0].image
        >>> pixels = classifier.preprocess(image)[None]
        >>> worse = [classifier.preprocess(one.apply(image))[None] for one in levels("jpeg")[:2]]
        >>> method = attr.create("gradient_weighted_attention", classifier)
        >>> robustness(classifier, method.attribute_patches, pixels, worse).spearman.shape
        torch.Size([1, 2])
    """
    if not degraded or any(one.shape != pixels.shape for one in degraded) or pixels.dim() != 4:
        shapes = ", ".join(str(tuple(one.shape)) for one in degraded) or "none"
        raise UsageError(
            f"Images (B, 3, H, W) and their degraded forms must be of one shape; got {tuple(pixels.shape)} "
            f"and {shapes}."
        )
    answers = [_logits(classifier, one, batch_size) for one in (pixels, *degraded)]
    if target is None:
        target = answers[0].argmax(1)
    targets = image_targets(target, len(pixels))
    maps = [
        torch.cat([
            explain_each(explain, part, targets[start : start + len(part)])
            for start, part in zip(range(0, len(one), batch_size), one.split(batch_size), strict=True)
        ])
        for one in (pixels, *degraded)
    ]  # fmt: skip
    return robustness_of_maps(maps[0], maps[1:], kept_answers(classifier, answers[0], answers[1:]))


def robustness_of_maps(clean: Tensor, maps: Sequence[Tensor], kept: Tensor) -> MapRobustness:
    """The same of maps that are there: (..., B, rows, cols) clean and at each of R levels, kept (B, R)."""
    ranks, shares, shape = [], [], clean.shape[:-2]
    best = _strongest(clean)
    for one in maps:
        ranks.append(spearman(one.flatten(0, -3), clean.flatten(0, -3)).reshape(shape))
        shares.append((torch.minimum(_strongest(one), best).sum(-1) / best.sum(-1)).reshape(shape))
    return MapRobustness(torch.stack(ranks, -1), torch.stack(shares, -1), kept)


def kept_answers(classifier: nn.Module, clean: Tensor, degraded: Sequence[Tensor]) -> Tensor:
    """(B, R) whether logits (B, C) say the same as those of the clean images.

    The first choice is to be the same; of independent labels the likeliest is to be given, or not, as before.
    """
    first = clean.argmax(1)
    if not problem_type_of(classifier).independent:
        return torch.stack([one.argmax(1) == first for one in degraded], 1).cpu()
    given = [one.gather(1, first[:, None])[:, 0] > 0 for one in (clean, *degraded)]
    return torch.stack([one == given[0] for one in given[1:]], 1).cpu()


@register(
    MetricInfo(
        name="unrelated_agreement",
        higher_is_better=False,
        range=(-1.0, 1.0),
        reference="control of the robustness metrics; cf. Adebayo et al. 2018, arXiv 1810.03292",
        summary="Rank correlation with the method's maps of other images: agreement that means nothing.",
        needs="method",
        against_random=False,
    )
)
def unrelated_agreement(relevance: Tensor, groups: Sequence[str] | None = None) -> Tensor:
    """Mean rank correlation of every map with those of images of other groups; NaN where there is none.

    Args:
        relevance: (B, rows, cols) of one method and class.
        groups: (B,) what each image is a frame or crop of; None where each stands for itself.

    Returns:
        (B,) float64 on the CPU.
    """
    names = [str(i) for i in range(len(relevance))] if groups is None else list(groups)
    if len(names) != len(relevance):
        raise UsageError(f"{len(relevance)} maps need {len(relevance)} groups; got {len(names)}.")
    values = []
    for one, name in zip(relevance, names, strict=True):
        others = relevance[[i for i, other in enumerate(names) if other != name]]
        values.append(spearman(one.expand_as(others), others).mean())
    return torch.stack(values)


_SHARED: dict[str, Any] = {
    "higher_is_better": True,
    "range": (-1.0, 1.0),
    "reference": "rank agreement under degradation; cf. Ghorbani et al. 2019, arXiv 1710.10547",
    "needs": "method",
    "against_random": False,
}
for _info in (
    MetricInfo(
        name="robustness_jpeg",
        summary="Rank correlation with the map of the same picture as JPEG 95 to 50, where the answer stays.",
        **_SHARED,
    ),
    MetricInfo(
        name="robustness_resize",
        summary="Rank correlation with the map of the picture reduced and enlarged, where the answer stays.",
        **_SHARED,
    ),
    MetricInfo(
        name="robustness_noise",
        summary="Rank correlation with the map of the picture with grain added, where the answer stays.",
        **_SHARED,
    ),
):
    register(_info)(robustness)


def _strongest(maps: Tensor) -> Tensor:
    """(N, P) how much of each patch is among the strongest tenth."""
    return torch.from_numpy(top_shares(maps.detach().double().cpu().flatten(0, -3).flatten(1).numpy()))


@torch.no_grad()
def _logits(classifier: nn.Module, pixels: Tensor, batch_size: int) -> Tensor:
    return torch.cat([classifier(part) for part in pixels.split(batch_size)]).float()
