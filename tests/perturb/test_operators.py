"""Operators: nothing removed is the image, everything removed is what they put in its place."""

import json
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import tiny_detector
import torch
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.core import ModelError, PatchGrid, UsageError
from xai.models import Classifier
from xai.perturb import OPERATORS, Operator, make_operator, on_pixels
from xai.perturb.blur import reflected_gaussian

SIZES: dict[str, Any] = {
    "blur": {"kernel": 5, "sigma": 2.0},
    "attack": {"samples": 2, "iterations": 2},
    "adversarial": {"samples": 2, "iterations": 2},
}


class PatchMeans(nn.Module):
    """Logits linear in the patch means: z = W · means, and the negative."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, generator=torch.Generator().manual_seed(5)))

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1) @ self.weight
        return torch.stack([z, -z], dim=1)


def asked(operator: Operator, model: nn.Module, x: Tensor, removed: Tensor) -> Tensor:
    seeds = list(range(len(x)))
    with torch.no_grad():
        baseline = operator.prepare(model, x, seeds)
        assert baseline is None or baseline.shape == x.shape
        return operator.logits(model, x, baseline, removed, torch.tensor(seeds))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("units", [(4, 4), (32, 32)])
def test_nothing_removed_is_the_image(name: str, units: tuple[int, int]) -> None:
    model, x = build("clip"), pixels(3)
    operator = make_operator(name, **SIZES.get(name, {}))
    if name == "token" and units == (32, 32):
        with pytest.raises(UsageError, match=r"removes patches of the 4×4 grid; got units \(32, 32\)"):
            asked(operator, model, x, torch.zeros(3, *units, dtype=torch.bool))
        return
    torch.testing.assert_close(
        asked(operator, model, x, torch.zeros(3, *units, dtype=torch.bool)),
        model(x).detach(),
        atol=2e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", [n for n in OPERATORS if n not in ("token", "road", "attack")])
@pytest.mark.parametrize("units", [(4, 4), (5, 3), (32, 32)])
def test_everything_removed_is_the_baseline(name: str, units: tuple[int, int]) -> None:
    model, x = build("clip"), pixels(3)
    operator = make_operator(name, **SIZES.get(name, {}))
    baseline = operator.prepare(model, x, [0, 1, 2])
    assert baseline is not None
    assert (baseline - x).abs().max() > (0.003 if name == "adversarial" else 0.1)
    torch.testing.assert_close(
        asked(operator, model, x, torch.ones(3, *units, dtype=torch.bool)), model(baseline).detach()
    )


def test_everything_masked_leaves_nothing_of_the_image() -> None:
    everything = torch.ones(3, 4, 4, dtype=torch.bool)
    answers = asked(make_operator("token"), build("clip"), pixels(3), everything)
    torch.testing.assert_close(answers[:1].expand(3, -1), answers)


def test_road_leaves_the_mean_colour_and_noise_that_follows_the_normalisation() -> None:
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    detector = tiny_detector.classifier(shortest_edge=32, crop=(32, 32), std=(0.5, 0.25, 0.2))
    x, seen = pixels(1), []
    detector.module.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    asked(make_operator("road", noise=0.01), detector, x, everything)
    left = seen[-1] - x.mean((2, 3), keepdim=True)
    spread = left.std(dim=(0, 2, 3))
    torch.testing.assert_close(spread, 0.01 / torch.tensor([0.5, 0.25, 0.2]), rtol=0.1, atol=0)
    asked(make_operator("road", noise=0.0), detector, x, everything)
    torch.testing.assert_close(seen[-1], x.mean((2, 3), keepdim=True).expand_as(x))
    some = torch.zeros(1, 32, 32, dtype=torch.bool)
    some[:, 10:13, 10:13] = True
    asked(make_operator("road", noise=0.0), detector, x, some)
    assert torch.equal(seen[-1][~some[:, None].expand_as(x)], x[~some[:, None].expand_as(x)])
    inner = seen[-1][0, :, 9:14, 9:14]
    weights = torch.tensor([[1.0, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    around = (inner[:, :3, :3] * weights).sum((1, 2))
    torch.testing.assert_close(around, inner[:, 1, 1], atol=1e-4, rtol=1e-4)  # at (10, 10)


def test_single_units_are_replaced() -> None:
    model, x = PatchMeans(), pixels(2)
    means = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1)
    removed = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    kept = torch.where(removed.flatten(1), x.mean((1, 2, 3))[:, None], means)
    expected = (kept @ model.weight).detach()
    torch.testing.assert_close(asked(make_operator("mean"), model, x, removed)[:, 0], expected)
    blank = asked(make_operator("constant", value=2.0), model, x, removed)[:, 1]
    kept = torch.where(removed.flatten(1), 2.0, means)
    torch.testing.assert_close(blank, -(kept @ model.weight).detach())


@pytest.mark.parametrize("units", [(4, 4), (14, 14), (5, 3), (32, 32), (7, 32)])
def test_units_are_laid_over_pixels_by_one_rule(units: tuple[int, int]) -> None:
    removed = torch.rand(2, *units, generator=torch.Generator().manual_seed(0)) < 0.5
    row, col = (np.arange(32) * n // 32 for n in units)
    assert np.array_equal(on_pixels(removed, (32, 32)).numpy(), removed.numpy()[:, row][:, :, col])


def test_constant_in_pixel_space_is_normalised_as_the_classifier_does() -> None:
    detector = tiny_detector.classifier(
        shortest_edge=32, crop=(32, 32), mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)
    )
    from PIL import Image

    grey = Image.new("RGB", (32, 32), (51, 51, 51))
    baseline = make_operator("constant", value=0.2, space="pixel").prepare(detector, pixels(2), [0, 1])
    assert baseline is not None
    torch.testing.assert_close(baseline, detector.preprocess(grey).expand(2, -1, -1, -1))
    with pytest.raises(UsageError, match="does not say"):
        make_operator("constant", space="pixel").prepare(build("clip"), pixels(), [0, 1])


@pytest.mark.parametrize(("klen", "sigma"), [(11, 5.0), (11, 5), (5, 0.7), (7, 30.0)])
def test_the_kernel_of_rise_is_scipys(klen: int, sigma: float) -> None:
    point = np.zeros((klen, klen))
    point[klen // 2, klen // 2] = 1
    kernel = scipy.ndimage.gaussian_filter(point, sigma)
    mine = reflected_gaussian(klen, sigma)
    np.testing.assert_allclose(np.outer(mine, mine), kernel, atol=1e-15)
    x = pixels(2)
    expected = [[scipy.signal.convolve2d(c, kernel, mode="same") for c in image] for image in x.numpy()]
    baseline = make_operator("rise_blur", klen=klen, sigma=sigma).prepare(nn.Identity(), x, [0, 1])
    np.testing.assert_allclose(baseline, expected, atol=1e-5)


def test_figures_of_the_rise_kernel() -> None:
    kernel = np.outer(*[reflected_gaussian(11, 5.0)] * 2)
    assert kernel[5, 5] == pytest.approx(0.00883, abs=5e-6)
    assert kernel[0, 0] == pytest.approx(0.00774, abs=5e-6)


@pytest.mark.parametrize(("kernel", "sigma"), [(11, 5.0), (3, 0.8), (31, 10.0)])
def test_blur_is_a_sampled_gaussian_between_mirrors(kernel: int, sigma: float) -> None:
    x, half = pixels(2), kernel // 2
    at = np.linspace(-half, half, kernel)
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    weights /= weights.sum()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (half, half), (half, half)), mode="reflect")
    expected = sum(
        weights[i] * weights[j] * padded[..., i : i + 32, j : j + 32]
        for i in range(kernel)
        for j in range(kernel)
    )
    baseline = make_operator("blur", kernel=kernel, sigma=sigma).prepare(nn.Identity(), x, [0, 1])
    np.testing.assert_allclose(baseline, expected, atol=1e-5)


@pytest.mark.parametrize("cells", [(4, 4), (5, 3), (7, 32)])
def test_regions_take_their_own_mean_colour(cells: tuple[int, int]) -> None:
    model, x = Classifier(PatchMeans(), ["a", "b"], name="means", grid=PatchGrid(*cells)), pixels(2)
    row, col = (np.arange(32) * n // 32 for n in cells)
    expected = x.numpy().copy()
    for region in np.ndindex(cells):
        inside = np.ix_([0, 1], [0, 1, 2], row == region[0], col == region[1])
        expected[inside] = x.numpy()[inside].mean((2, 3), keepdims=True)
    got = make_operator("region_mean").prepare(model, x, [0, 1])
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_noise_belongs_to_the_image() -> None:
    operator, x = make_operator("noise", std=2.0), pixels(2)
    both = operator.prepare(nn.Identity(), x, [3, 4])
    alone = operator.prepare(nn.Identity(), x[1:], [4])
    assert both is not None
    assert alone is not None
    assert torch.equal(both[1:], alone)
    assert not torch.equal(both[:1], alone)
    assert both.std() == pytest.approx(2.0, rel=0.05)
    assert both.mean() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_values(name: str) -> None:
    one, other = make_operator(name), make_operator(name)
    assert one == other
    assert hash(one) == hash(other)
    described = one.describe()
    assert described.pop("name") == name
    assert make_operator(name, **json.loads(json.dumps(described))) == one


def test_different_parameters_are_different_operators() -> None:
    assert make_operator("constant") != make_operator("constant", value=1.0)
    assert make_operator("mean") != make_operator("minimum")
    assert make_operator("token") != make_operator("mean")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("meen", {}, "Did you mean 'mean'"),
        ("constant", {"valu": 1}, "Did you mean 'value'"),
        ("mean", {"value": 1}, "It has none"),
        ("constant", {"space": "pixels"}, "Did you mean 'pixel'"),
        ("blur", {"kernel": 10}, "odd"),
        ("blur", {"sigma": 0}, "positive"),
        ("rise_blur", {"klen": 4}, "odd"),
        ("noise", {"std": -1}, "positive"),
        ("noise", {"std": float("nan")}, "finite number"),
        ("road", {"noise": -1}, "0 or more"),
    ],
)
def test_wrong_names_and_parameters(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_operator(name, **params)


def test_a_blur_that_does_not_fit() -> None:
    with pytest.raises(UsageError, match="65 pixels does not fit"):
        make_operator("blur", kernel=65).prepare(nn.Identity(), pixels(1), [0])


@pytest.mark.parametrize("name", ["clip_mean_pooled", "siglip", "beit", "dinov2", "siglip_pooling_head"])
def test_token_masking_is_refused_where_it_would_not_remove(name: str) -> None:
    with pytest.raises(ModelError, match="vit-mean"):
        make_operator("token").prepare(build(name), pixels(1), [0])


class Shortcut(nn.Module):
    """Reads the class token of a ViT, and the mean colour of the image past it."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = build("clip")

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(x) + x.mean((1, 2, 3))[:, None] * torch.tensor([10.0, -10.0, 0.0])


def test_token_masking_is_refused_where_pixels_are_read_past_attention() -> None:
    with pytest.raises(ModelError, match=r"still tells two images apart[^$]*vit-mean"):
        make_operator("token").prepare(Shortcut(), pixels(1), [0])


def test_token_masking_is_checked_once_per_model_and_size() -> None:
    model, calls = build("clip"), []
    model.register_forward_hook(lambda *_: calls.append(1))
    operator = make_operator("token")
    with torch.inference_mode():
        for _ in range(3):
            assert operator.prepare(model, pixels(1), [0]) is None
    # one to find the grid, two to see that patches can be masked, four that they can be dropped
    assert len(calls) == 7
