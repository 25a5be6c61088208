"""Each method against an independent implementation or a limit identity."""

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIG
from torch import nn
from vit_zoo import ZOO, build, pixels

from xai.attention import find_layout, probe
from xai.attention.diagnose import explicit_attention
from xai.attr import (
    METHODS,
    AttentionRollout,
    CenterPrior,
    IntegratedGradients,
    RandomAttribution,
    RawAttention,
    create,
)
from xai.core import Margin, UsageError


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("discard_ratio", [0.0, 0.3])
@pytest.mark.parametrize("head_fusion", ["mean", "max", "min"])
def test_rollout_equals_a_dense_product(name: str, head_fusion: str, discard_ratio: float) -> None:
    model, x = build(name), pixels()
    grid = find_layout(model).grid(32, 32)
    seen = probe(model, x, (), grid)
    maps, _ = explicit_attention(model, x, (), grid.tokens, lambda logits: logits.sum() + logits[:, 0].sum())
    fused = [{"mean": m.mean(1), "max": m.amax(1), "min": m.amin(1)}[head_fusion] for m in maps]
    for matrix in fused:
        for image in matrix:
            flat = image.view(-1)
            flat[flat.argsort()[: int(flat.numel() * discard_ratio)]] = 0
    rollout = torch.eye(grid.tokens, dtype=torch.float64)
    for matrix in fused[: seen.layers - seen.pooling]:
        matrix = matrix.double() + torch.eye(grid.tokens)
        rollout = matrix / matrix.sum(-1, keepdim=True) @ rollout
    read = fused[-1].double() @ rollout if seen.pooling else rollout[:, list(seen.rows)]
    expected = read.mean(1)
    got = AttentionRollout(model, head_fusion, discard_ratio).attribute_patches(x)
    torch.testing.assert_close(got, grid.to_patches(expected).float(), rtol=1e-4, atol=1e-6)


def test_rollout_rows_sum_to_one() -> None:
    """Every Ā is a stochastic matrix, so all tokens together get 1; the class token keeps its share."""
    model = build("siglip")  # no prefix tokens: all of it is on the grid
    total = AttentionRollout(model).attribute_patches(pixels()).sum((1, 2))
    torch.testing.assert_close(total, torch.ones(2))


def test_raw_attention_of_all_layers_is_the_mean_of_single_layers() -> None:
    model, x = build("clip"), pixels()
    singles = [RawAttention(model, layer).attribute_patches(x) for layer in range(6)]
    torch.testing.assert_close(
        RawAttention(model, "all_layers").attribute_patches(x), torch.stack(singles).mean(0)
    )


def test_integrated_gradients_is_captums_own_in_patches() -> None:
    model, x = build("clip"), pixels()
    captum = CaptumIG(model).attribute(x, target=1, n_steps=8)
    expected = nn.functional.avg_pool2d(captum.sum(1), 8) * 64
    got = IntegratedGradients(model, n_steps=8).attribute_patches(x, 1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    split = IntegratedGradients(model, n_steps=8, internal_batch_size=3).attribute_patches(x, 1)
    torch.testing.assert_close(split, got, rtol=1e-4, atol=1e-6)


def test_integrated_gradients_is_complete() -> None:
    model, x = build("vit"), pixels()
    method = IntegratedGradients(model, n_steps=200)
    attribution, delta = method.attribute(x, 0.5, target=2, return_convergence_delta=True)
    with torch.no_grad():
        rise = (model(x) - model(torch.full_like(x, 0.5)))[:, 2]
    torch.testing.assert_close(attribution.sum((1, 2, 3)) - rise, delta, atol=1e-4, rtol=0)
    assert delta.abs().max() < 0.02 * rise.abs().max()
    assert method.has_convergence_delta()
    captum_delta = method.compute_convergence_delta(attribution, torch.full_like(x, 0.5), x, target=2)
    torch.testing.assert_close(captum_delta, delta, atol=1e-4, rtol=0)


@pytest.mark.parametrize("target", [1, Margin(1), [0, Margin(1, 2)]], ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("integrated_gradients", {"baseline": "mean"}),
        ("integrated_gradients_blur", {"kernel": 11, "sigma": 5.0}),
    ],
)
def test_the_delta_is_measured_from_the_methods_own_baseline(name: str, options: dict, target: Any) -> None:
    method, x = create(name, build("clip"), n_steps=8, **options), pixels()
    attribution, delta = method.attribute(x, target=target, return_convergence_delta=True)
    for form in (attribution, (attribution,)):
        measured = method.compute_convergence_delta(form, None, x, target)
        torch.testing.assert_close(measured, delta, rtol=0, atol=1e-5)


def test_random_is_another_map_for_another_image_or_seed() -> None:
    model, x = build("clip"), pixels()
    first = RandomAttribution(model).attribute_patches(x)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, RandomAttribution(model, seed=1).attribute_patches(x))
    assert first.min() >= 0
    assert first.max() < 1


def test_the_centre_prior_peaks_at_the_centre_and_is_symmetric() -> None:
    got = CenterPrior(build("dinov2")).attribute_patches(pixels(height=40, width=24))[0]
    assert divmod(int(got.argmax()), 3) == (2, 1)
    torch.testing.assert_close(got, got.flip(0, 1))
    assert got[2, 1] == 1


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("attention_rollout", {"discard_ratio": 1.0}),
        ("integrated_gradients", {"n_steps": 0}),
        ("center_prior", {"sigma": 0.0}),
    ],
)
def test_values_out_of_range_are_told(method: str, option: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(option))):
        create(method, build("clip"), **option)


def test_names_are_fixed() -> None:
    assert set(METHODS) >= {
        "gradient_weighted_attention",
        "attention_rollout",
        "integrated_gradients",
        "raw_attention",
        "random",
        "center_prior",
    }
    with pytest.raises(UsageError, match="Did you mean 'attention_rollout'"):
        create("attention_rolout", build("clip"))


@pytest.mark.parametrize("name", ["kernel_shap", "shapley_value_sampling"])
def test_sampled_shapley_values_sum_to_the_change_of_the_score(name: str) -> None:
    model, x = build("clip"), pixels()
    attribution, delta = create(name, model, n_samples=4).attribute(x, 1, return_convergence_delta=True)
    with torch.no_grad():
        mean = x.mean((2, 3), keepdim=True).expand_as(x)
        rise = (model(x) - model(mean))[:, 1]
    torch.testing.assert_close(attribution.flatten(1).sum(1) - delta, rise, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(delta, torch.zeros(2), rtol=0, atol=1e-4)


def test_the_delta_of_a_guided_path_is_measured_from_its_baseline() -> None:
    model, x = build("clip"), pixels()
    method = create("guided_integrated_gradients", model, n_steps=6)
    assert method.has_convergence_delta()
    attribution, delta = method.attribute((x,), 1, return_convergence_delta=True)
    with torch.no_grad():
        rise = (model(x) - model(torch.zeros_like(x)))[:, 1]
    torch.testing.assert_close(attribution[0].flatten(1).sum(1) - delta, rise, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["saliency", "chefer", "lime"])
def test_a_method_that_is_not_complete_has_no_delta(name: str) -> None:
    method, x = create(name, build("clip")), pixels()
    assert not method.has_convergence_delta()
    with pytest.raises(UsageError, match=f"{name} has no delta"):
        method.attribute(x, target=1, return_convergence_delta=True)
    with pytest.raises(UsageError, match="sums to no change of the score"):
        method.compute_convergence_delta(x, None, x, 1)


@pytest.mark.parametrize(
    "name", ["integrated_mask_gradient", "saliency", "occlusion", "raw_attention", "random"]
)
def test_no_image_is_told(name: str) -> None:
    with pytest.raises(UsageError, match=r"no image in pixels of shape \(0, 3, 32, 32\)"):
        create(name, build("clip")).attribute(pixels()[:0], target=1)
