"""Infidelity and sensitivity_max are Captum's numbers, for any batch, without global randomness."""

from typing import Literal

import captum.metrics
import pytest
import torch
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attr import create
from xai.attr.inputs import spread_patches
from xai.core import Margin, UsageError
from xai.core.target import image_targets, score
from xai.metrics import METRICS
from xai.metrics.captum_metrics import infidelity, nudge, removed_patches, sensitivity_max
from xai.perturb import image_seeds, make_operator, on_pixels

TARGETS = [1, [0, 2, 1], Margin(1), Margin(2, 0), [Margin(1), 0, Margin(0, 2)]]
GRID = (4, 4)


class Explained(nn.Module):
    """The score itself, (S, 1), for images in the order and multiplicity in which Captum repeats them."""

    def __init__(self, model: nn.Module, target: object, images: int):
        super().__init__()
        self.model, self.targets = model, image_targets(target, images)

    def forward(self, x: Tensor) -> Tensor:
        copies = len(x) // len(self.targets)
        return score(self.model(x), [t for t in self.targets for _ in range(copies)])


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("normalize", ["captum", False])
@pytest.mark.parametrize("operator", ["mean", "blur"])
def test_infidelity_equals_captum(target: object, normalize: bool | Literal["captum"], operator: str) -> None:
    model, x = build("clip"), pixels(3)
    relevance = torch.randn(3, *GRID, generator=torch.Generator().manual_seed(0))
    seeds = image_seeds(x, 7)
    baseline = make_operator(operator).prepare(model, x, seeds)

    def perturb(repeated: Tensor) -> tuple[Tensor, Tensor]:
        removed = torch.cat([removed_patches(s, 12, GRID) for s in seeds])
        removed = on_pixels(removed, (32, 32))[:, None].expand_as(repeated)
        return removed.float(), torch.where(removed, baseline.repeat_interleave(12, 0), repeated)

    expected = captum.metrics.infidelity(
        Explained(model, target, 3),
        perturb,
        x,
        spread_patches(relevance, x),
        n_perturb_samples=12,
        normalize=bool(normalize),
    )
    got = infidelity(
        model, x, relevance, target, operator=operator, samples=12, normalize=normalize, seed=7, batch_size=5
    )
    assert got.shape == (3,)
    assert (got > 0).all()
    torch.testing.assert_close(got.float(), expected.float(), rtol=1e-4, atol=1e-5)


def test_a_map_and_its_reverse_are_not_alike() -> None:
    model, x = build("clip"), pixels(2)
    relevance = torch.rand(2, *GRID, generator=torch.Generator().manual_seed(0))
    both = torch.stack([relevance, -relevance])
    ours, captums = (infidelity(model, x, both, 1, samples=12, normalize=n) for n in (True, "captum"))
    torch.testing.assert_close(captums[0], captums[1])
    # one sign suits the model, and the best that the other can do is to say nothing
    assert (ours.amin(0) < ours.amax(0)).all()
    torch.testing.assert_close(ours.amin(0), captums[0])


def test_perturbations_divided_by_the_inputs_are_captums_own() -> None:
    """Captum's decorator for attributions that say what a value contributes gives the same 0 and 1."""
    model, x = build("clip"), pixels(1)
    relevance = torch.randn(1, *GRID, generator=torch.Generator().manual_seed(0))
    seed = image_seeds(x, 0)[0]
    baseline = make_operator("constant").prepare(model, x, [seed]).contiguous()

    @captum.metrics.infidelity_perturb_func_decorator(True)
    def perturb(repeated: Tensor, baselines: Tensor) -> Tensor:
        removed = on_pixels(removed_patches(seed, 9, GRID), (32, 32))[:, None]
        return torch.where(removed, baselines, repeated)

    expected = captum.metrics.infidelity(
        model, perturb, x, spread_patches(relevance, x), baselines=baseline, n_perturb_samples=9, target=2
    )
    got = infidelity(model, x, relevance, 2, operator="constant", samples=9, normalize=False)
    torch.testing.assert_close(got.float(), expected, rtol=1e-4, atol=1e-5)


class WeightedPatches(nn.Module):
    """Logit of class 1: a weighted sum of the patches' means; class 0 gets 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(GRID, generator=torch.Generator().manual_seed(3)))

    def forward(self, x: Tensor) -> Tensor:
        logit = (torch.nn.functional.avg_pool2d(x.mean(1), 8) * self.weights).sum((1, 2))
        return torch.stack([torch.zeros_like(logit), logit], 1)

    def contributions(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x.mean(1), 8).detach() * self.weights.detach()


def test_infidelity_of_the_true_contributions_is_zero() -> None:
    """At any scale if normalised; what is left for a map of zeros is the mean squared fall."""
    model, x = WeightedPatches(), pixels(3)
    truth = model.contributions(x)
    maps = torch.stack([truth, truth * 100, truth.flip(1), torch.zeros_like(truth)])
    value = infidelity(model, x, maps, 1, operator="constant")
    assert value.shape == (4, 3)
    assert (value[:2] < 1e-9).all()
    assert (value[2] > 1e-4).all()
    assert (value[3] >= value[2]).all()
    raw = infidelity(model, x, maps, Margin(1), operator="constant", normalize=False)
    assert (raw[0] < 1e-9).all()
    assert (raw[1] > 1e-2).all()


def test_infidelity_is_one_images_own_in_any_batch_and_leaves_the_random_state() -> None:
    model, x = build("vit"), pixels(3)
    relevance = torch.randn(2, 3, *GRID)
    state = torch.get_rng_state()
    together = infidelity(model, x, relevance, [1, 2, 0], samples=6, batch_size=4)
    assert torch.equal(torch.get_rng_state(), state)
    alone = infidelity(model, x[1:2], relevance[0, 1:2], 2, samples=6, batch_size=64)
    torch.testing.assert_close(alone, together[0, 1:2], rtol=1e-4, atol=1e-8)
    assert not torch.equal(infidelity(model, x, relevance, [1, 2, 0], samples=6, seed=1), together)


def test_infidelity_with_patches_hidden_from_attention() -> None:
    model, x = build("clip"), pixels(2)
    value = infidelity(model, x, torch.rand(2, *GRID), Margin(1), operator="token", samples=4)
    assert torch.isfinite(value).all()
    assert (value > 0).all()


def test_removed_patches_are_of_every_number() -> None:
    counts = removed_patches(0, 4000, GRID).flatten(1).sum(1)
    share = torch.bincount(counts, minlength=17) / 4000
    assert ((share - 1 / 17).abs() < 0.02).all()


@pytest.mark.parametrize("target", [1, [0, 2, 1], Margin(1)], ids=str)
@pytest.mark.parametrize("name", ["gradient_weighted_attention", "saliency"])
def test_sensitivity_max_equals_captum(name: str, target: object) -> None:
    model, x = build("clip"), pixels(3)
    method, seeds = create(name, model), image_seeds(x, 5)

    def perturb(repeated: Tensor) -> Tensor:
        noise = [nudge(x[i], seeds[i], k, 0.1) for i in range(3) for k in range(1, 5)]
        return repeated + torch.stack(noise)

    expected = captum.metrics.sensitivity_max(
        method.attribute, x, perturb, n_perturb_samples=4, target=target
    )
    got = sensitivity_max(method.attribute_patches, x, target, radius=0.1, samples=4, seed=5, batch_size=4)
    assert (got > 0).all()
    torch.testing.assert_close(got.float(), expected, rtol=1e-3, atol=1e-6)


def test_sensitivity_of_margins_that_differ_between_images() -> None:
    x = pixels(3)
    method = create("gradient_weighted_attention", build("clip"))
    targets = [Margin(1), 0, Margin(2, 0)]
    together = sensitivity_max(method.attribute_patches, x, targets, samples=3)
    for i, target in enumerate(targets):
        alone = sensitivity_max(method.attribute_patches, x[i : i + 1], target, samples=3)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-3, atol=1e-8)


def test_sensitivity_of_maps_known_on_paper() -> None:
    """Every method meets the same noise; a constant map does not move; a map of zeros is not divided."""
    x, state = pixels(2), torch.get_rng_state()
    assert sensitivity_max(lambda images, _: torch.ones(len(images), 2, 2), x).tolist() == [0, 0]
    seen: list[Tensor] = []
    for _ in range(2):
        sensitivity_max(
            lambda images, _: images.mean(1) if seen.append(images) is None else images, x, samples=3
        )
    assert torch.equal(seen[0], seen[1])
    noise = seen[0].unflatten(0, (2, 4)) - x[:, None]
    assert (noise[:, 0] == 0).all()
    assert noise[:, 1:].abs().amax() <= 0.02 + 1e-6
    assert noise[:, 1:].abs().flatten(2).amax(2).min() > 0.019
    assert torch.equal(torch.get_rng_state(), state)
    clean = {image.numpy().tobytes() for image in x}
    zero = sensitivity_max(
        lambda images, _: torch.stack(
            [torch.full((2, 2), 0.0 if image.numpy().tobytes() in clean else 3.0) for image in images]
        ),
        x,
    )
    assert zero.tolist() == [6, 6]


def test_scores_of_targets() -> None:
    logits = torch.tensor([[1.0, 5.0, 3.0]]).repeat(4, 1)
    targets = [2, Margin(2), Margin(1), Margin(2, 0)]
    assert score(logits, targets).tolist() == [3, -2, 2, 2]
    assert score(torch.tensor([[4.0], [5.0]]), image_targets(None, 2)).tolist() == [4, 5]
    assert image_targets(torch.tensor([1, 2]), 2) == [1, 2]
    assert image_targets([1], 3) == [1, 1, 1]


@pytest.mark.parametrize(
    "target", [3, -1, True, "fake", [0, 1], None, Margin(0, 9), [0.5, 1.0, 2.0]], ids=str
)
def test_wrong_targets_are_told(target: object) -> None:
    with pytest.raises(UsageError):
        infidelity(build("clip"), pixels(3), torch.rand(3, *GRID), target, samples=2)


def test_bad_inputs_are_told() -> None:
    model, x = build("clip"), pixels(2)
    for relevance in (torch.rand(3, 4, 4), torch.rand(4, 4), torch.full((2, 4, 4), torch.nan)):
        with pytest.raises(UsageError):
            infidelity(model, x, relevance, 1)
    with pytest.raises(UsageError, match="samples"):
        infidelity(model, x, torch.rand(2, 4, 4), 1, samples=0)
    with pytest.raises(UsageError, match="nknown operator"):
        infidelity(model, x, torch.rand(2, 4, 4), 1, operator="avarage")
    for options in ({"samples": 0}, {"radius": 0.0}, {"batch_size": 0}):
        with pytest.raises(UsageError):
            sensitivity_max(lambda images, _: images.mean(1), x, **options)
    with pytest.raises(UsageError, match="must return"):
        sensitivity_max(lambda images, _: images, x)
    assert METRICS["infidelity"].function is infidelity
    assert METRICS["infidelity"].forwards(196, None) == 51
    assert METRICS["sensitivity_max"].function is sensitivity_max
