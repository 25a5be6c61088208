"""Captum's infidelity and sensitivity_max, the same numbers, for maps on patches and many at a time.

Yeh et al. 2019, arXiv 1901.09392. `captum.metrics` asks the model again for every method and takes its
perturbations from the global random state. Here all maps of an image meet the same perturbations, drawn from
the image's own seed, so methods are compared in pairs, and the model is asked once for all of them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from xai.core import UsageError, derive_seed
from xai.core.target import ImageTarget, Target, image_targets, read_target, score
from xai.metrics.base import MetricInfo
from xai.metrics.maps import exact
from xai.metrics.registry import register
from xai.perturb import AnyOperator, image_seeds, operator_of

SUBSETS = 50
"""Random removals per image."""
NUDGES = 10
"""Random changes of the image; Captum's default."""


@register(
    MetricInfo(
        name="infidelity",
        higher_is_better=False,
        range=(0.0, None),
        reference="Yeh et al. 2019, arXiv 1901.09392; captum.metrics.infidelity(normalize=True)",
        summary="Squared error of predicting, from the relevance removed, how far the score falls.",
        needs="method",
        forwards=lambda patches, protocol=None: SUBSETS + 1,
    )
)
def infidelity(
    classifier: nn.Module,
    pixels: Tensor,
    relevance: Tensor,
    target: Target = None,
    *,
    operator: AnyOperator = "mean",
    samples: int = SUBSETS,
    normalize: bool | Literal["captum"] = True,
    seed: int = 0,
    batch_size: int = 32,
) -> Tensor:
    """Mean squared difference of removed relevance and fall of the score, over random sets of patches.

    In every sample the number of removed patches is uniform between none and all. The perturbation of the
    definition is 1 on a removed patch and 0 elsewhere, as for all attributions that say what a patch
    contributes (Captum's `multiply_by_inputs=True`); the baseline is what the operator puts there.

    Any positive map predicts that removing more makes the score fall further, so a map of noise is far from
    the worst: judge by the distance to the random control.

    Args:
        classifier: Pixels in, logits out.
        pixels: (B, 3, H, W).
        relevance: (B, rows, cols), or (methods, B, rows, cols) for several methods at the cost of one.
        target: Class index, `Margin`, or one of them per image.
        operator: What removing a patch means; an operator by name, a mapping with its name and
            parameters, or itself.
        samples: Random sets per image.
        normalize: Scale each map by the factor ≥ 0 that suits it best, since few methods answer in logits; a
            method is then judged by the pattern of its map alone. Captum's factor may be negative, which
            makes a map and its reverse equally good: `"captum"` is that one.
        seed: Another seed gives other sets.
        batch_size: Images at a time.

    Returns:
        (B,) or (methods, B), float64 on the CPU, in squared units of the score; lower is better.
    """
    _at_least_one(samples=samples, batch_size=batch_size)
    maps = _checked(relevance, pixels)
    targets = read_target(image_targets(target, len(pixels)), classifier)
    chosen = operator_of(operator)
    seeds = image_seeds(pixels, seed)
    grid = (maps.shape[2], maps.shape[3])
    with torch.no_grad():
        baseline = chosen.prepare(classifier, pixels, seeds)
        removed = torch.stack([removed_patches(s, samples, grid) for s in seeds])
        nothing = torch.zeros(len(pixels), 1, *grid, dtype=torch.bool)
        states = torch.cat([nothing, removed], 1).flatten(0, 1).to(pixels.device)
        image = torch.arange(len(pixels), device=pixels.device).repeat_interleave(samples + 1)
        scores = []
        for part in torch.arange(len(image), device=pixels.device).split(batch_size):
            rows = image[part]
            logits = chosen.logits(
                classifier,
                pixels[rows],
                None if baseline is None else baseline[rows],
                states[part],
                torch.tensor(seeds, device=pixels.device)[rows],
            )
            scores.append(score(logits.detach().double(), [targets[i] for i in rows.tolist()]))
    table = torch.cat(scores).reshape(len(pixels), samples + 1).cpu()
    fall = table[:, :1] - table[:, 1:]
    predicted = torch.einsum("mbp,bsp->mbs", maps.flatten(2), removed.flatten(2).double())
    if normalize:
        power = predicted.square().sum(-1, keepdim=True)
        factor = torch.where(power > 0, (predicted * fall).sum(-1, keepdim=True) / power, 0)
        predicted = predicted * (factor if normalize == "captum" else factor.clamp_min(0))
    value = (predicted - fall).square().mean(-1)
    return value if relevance.dim() == 4 else value[0]


def removed_patches(seed: int, samples: int, grid: tuple[int, int]) -> Tensor:
    """(samples, rows, cols) bool random sets of an image with this seed, of uniformly distributed size."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "infidelity"))
    share = torch.rand(samples, 1, 1, generator=generator)
    return torch.rand(samples, *grid, generator=generator) < share


@register(
    MetricInfo(
        name="sensitivity_max",
        higher_is_better=False,
        range=(0.0, None),
        reference="Yeh et al. 2019, arXiv 1901.09392; captum.metrics.sensitivity_max",
        summary="Largest relative change of the map when the image changes by noise too small to see.",
        needs="method",
        against_random=False,
    )
)
def sensitivity_max(
    explain: Callable[[Tensor, Any], Tensor],
    pixels: Tensor,
    target: Target = None,
    *,
    radius: float = 0.02,
    samples: int = NUDGES,
    seed: int = 0,
    batch_size: int = 32,
) -> Tensor:
    """Max ‖φ(x + δ) − φ(x)‖ / ‖φ(x)‖ over uniform noise δ of at most `radius` in every pixel value.

    Costs 1 + samples explanations an image. A map that ignores the image scores 0, so it says nothing of
    faithfulness; a map of zeros is not divided by its norm, as in Captum.

    Args:
        explain: (pixels (S, 3, H, W), target) → relevance (S, rows, cols). The target is None, a `Margin`,
            or a tensor (S,) of class indices.
        pixels: (B, 3, H, W).
        target: Class index, `Margin`, or one of them per image.
        radius: In the units of the pixels given, usually normalised.
        samples: Noisy copies per image.
        seed: Another seed gives other noise; every method meets the same.
        batch_size: Images explained at a time.

    Returns:
        (B,) float64 on the CPU; lower is better.
    """
    _at_least_one(samples=samples, batch_size=batch_size)
    if not radius > 0:
        raise UsageError(f"radius={radius} must be above 0.")
    if pixels.dim() != 4:
        raise UsageError(f"Pixels must be (B, 3, H, W); got {tuple(pixels.shape)}.")
    targets, seeds = image_targets(target, len(pixels)), image_seeds(pixels, seed)
    states = [(i, k) for i in range(len(pixels)) for k in range(samples + 1)]
    maps = []
    for start in range(0, len(states), batch_size):
        part = states[start : start + batch_size]
        images = torch.stack(
            [pixels[i] if k == 0 else pixels[i] + nudge(pixels[i], seeds[i], k, radius) for i, k in part]
        )
        maps.append(explain_each(explain, images, [targets[i] for i, _ in part]))
    relevance = torch.cat(maps).unflatten(0, (len(pixels), samples + 1)).flatten(2)
    norm = relevance[:, 0].norm(dim=1)
    change = (relevance[:, 1:] - relevance[:, :1]).norm(dim=2).amax(1)
    return change / torch.where(norm > 0, norm, 1)


def nudge(image: Tensor, seed: int, number: int, radius: float) -> Tensor:
    """Noise number 1, 2, … of an image (3, H, W) with this seed: uniform in [−radius, radius)."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "sensitivity", number))
    noise = (torch.rand(image.shape, generator=generator) * 2 - 1) * radius
    return noise.to(image.device, image.dtype)


def explain_each(
    explain: Callable[[Tensor, Any], Tensor], images: Tensor, targets: Sequence[ImageTarget]
) -> Tensor:
    """(S, rows, cols) float64 on the CPU; margins, which differ between images, are asked for one by one."""
    if all(isinstance(t, int) for t in targets):
        return _map(explain(images, torch.tensor(targets, device=images.device)), len(images))
    relevance: dict[int, Tensor] = {}
    for target in dict.fromkeys(targets):
        rows = [i for i, t in enumerate(targets) if t == target]
        asked = (
            torch.tensor([target] * len(rows), device=images.device) if isinstance(target, int) else target
        )
        relevance.update(zip(rows, _map(explain(images[rows], asked), len(rows)), strict=True))
    return torch.stack([relevance[i] for i in range(len(images))])


def _map(relevance: Any, images: int) -> Tensor:
    if not isinstance(relevance, Tensor) or relevance.dim() != 3 or len(relevance) != images:
        got = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance).__name__
        raise UsageError(f"The explainer must return (S, rows, cols) for {images} images; got {got}.")
    return relevance.detach().to("cpu", torch.float64)


def _checked(relevance: Tensor, pixels: Tensor) -> Tensor:
    """(methods, B, rows, cols) float64 on the CPU."""
    maps = relevance[None] if relevance.dim() == 3 else relevance
    if pixels.dim() != 4 or maps.dim() != 4 or maps.shape[1] != len(pixels):
        raise UsageError(
            "Pixels (B, 3, H, W) and relevance (B, rows, cols) are expected; "
            f"got {tuple(pixels.shape)} and {tuple(relevance.shape)}."
        )
    return exact(maps)


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name}={count} must be 1 or more.")
