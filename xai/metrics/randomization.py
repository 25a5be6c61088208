"""Does the map depend on what the model has learned? Cascading randomisation of all of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.core import UsageError
from xai.metrics.base import MetricInfo
from xai.metrics.cascade import Stage, cascade, find_stages, named_stages
from xai.metrics.registry import register
from xai.metrics.similarity import spearman, ssim

Explain = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True, eq=False)
class Randomization:
    """How maps change while the model is destroyed; float64 on the CPU.

    Args:
        stages: What was randomised, one after another.
        spearman: (..., B, stages) rank correlation with the map of the intact model.
        ssim: (..., B, stages) structural similarity with it.
    """

    stages: tuple[Stage, ...]
    spearman: Tensor
    ssim: Tensor

    @property
    def value(self) -> Tensor:
        """(..., B) mean |Spearman's ρ| over the stages after the first; lower is better.

        The size of ρ: a map turned upside down (a randomised head may swap two classes) is the same map. The
        first stage is left out: most of what the model knows is still there. Unrelated maps of n patches
        have |ρ| ≈ 0.8/√n on average, not 0.
        """
        later = self.spearman[..., 1:] if len(self.stages) > 1 else self.spearman
        return later.abs().mean(-1)


@register(
    MetricInfo(
        name="randomization",
        higher_is_better=False,
        range=(0.0, 1.0),
        reference="Adebayo et al. 2018, arXiv 1810.03292 (cascading; here it reaches every parameter)",
        summary="Similarity of the map to itself while the model is randomised from head to embeddings.",
        needs="method",
        against_random=False,
    )
)
def randomization(
    classifier: nn.Module,
    make_explainer: Callable[[nn.Module], Explain],
    pixels: Tensor,
    target: Any = None,
    *,
    seed: int = 0,
    groups: int | None = None,
    stages: Mapping[str, Sequence[str]] | None = None,
) -> Randomization:
    """Explain the same images while the model is randomised from its head down to its embeddings.

    Each tensor's entries are shuffled, so that it keeps the distribution of its own values, outliers and
    scale included, and the model stays in its numerical range; what is lost is which entry stands where.
    That holds for norms too, which re-initialising would set to one and zero, values they do not have in a
    trained model. Tensors with one value throughout (a scalar, an untrained norm) get 10 % of noise.
    A tensor's shuffle depends on the seed and its name alone, so all methods meet the same models.

    Costs 1 + stages explanations an image (blocks + 3 without `groups`), and 1 forward for each
    parameter outside the blocks. A method that ignores the model scores 1; the map is then no evidence of it.

    Args:
        classifier: Pixels in, logits out; left as it is (a copy is randomised).
        make_explainer: model → callable(pixels, target) → (B, rows, cols), or (methods, B, rows, cols) to
            test several methods on the same models.
        pixels: (B, 3, H, W).
        target: Handed to the explainer.
        seed: Another seed gives other models.
        groups: At most so many stages of blocks.
        stages: Stages by name instead, as names of modules or parameters; see `named_stages`.

    Raises:
        ModelError: When the blocks are not found, or a stage did not change exactly what it names.
    """
    if pixels.dim() != 4 or not len(pixels):
        raise UsageError(f"Pixels must be (B, 3, H, W); got {tuple(pixels.shape)}.")
    plan = find_stages(classifier, pixels, groups) if stages is None else named_stages(classifier, stages)
    intact = _maps(make_explainer(classifier), pixels, target)
    ranks, structures = [], []
    for _, model in cascade(classifier, plan, seed):
        changed = _maps(make_explainer(model), pixels, target)
        if changed.shape != intact.shape:
            raise UsageError(f"The maps changed shape: {tuple(intact.shape)}, then {tuple(changed.shape)}.")
        pair = changed.flatten(0, -3), intact.flatten(0, -3)
        ranks.append(spearman(*pair).reshape(intact.shape[:-2]))
        structures.append(ssim(*pair).reshape(intact.shape[:-2]))
    return Randomization(plan, torch.stack(ranks, -1), torch.stack(structures, -1))


def _maps(explain: Explain, pixels: Tensor, target: Any) -> Tensor:
    maps = explain(pixels, target)
    if not isinstance(maps, Tensor) or maps.dim() < 3 or maps.shape[-3] != len(pixels):
        got = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise UsageError(f"The explainer must return (B, rows, cols) for {len(pixels)} images; got {got}.")
    return maps.detach()
