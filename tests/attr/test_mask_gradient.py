"""Mask gradients against autograd through an explicit soft mask, finite differences and completeness."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from captum.attr import NoiseTunnel
from torch import Tensor, nn
from vit_zoo import CLASSES, HEADS, HUGGING_FACE, LAYERS, ZOO, build, pixels

from xai.attention import find_layout, mask_patches
from xai.attr import IntegratedMaskGradient, MaskGradient
from xai.attr.integrated_mask_gradient import PATHS_OVER
from xai.attr.integration_paths import PATHS, RULES, presence_path
from xai.core import Margin, ModelError, UsageError

WITH_PREFIX = [name for name in ZOO if "siglip" not in name]


@contextmanager
def soft_mask(presence: Tensor, prefix: int) -> Iterator[None]:
    """Every softmax over as many keys as there are tokens is weighted by presence and renormalised.

    This is what `log m` in the scores means, written without a logarithm, on eager attention.
    """
    with soft_mask_of_layers(presence[:, None].expand(-1, LAYERS, -1), prefix):
        yield


@contextmanager
def soft_mask_of_layers(presence: Tensor, prefix: int) -> Iterator[None]:
    """The same with a presence (B, layers, patches) of each layer."""
    weights = torch.nn.functional.pad(presence, (prefix, 0), value=1.0)
    softmax, layers = nn.functional.softmax, iter(range(LAYERS))

    def masked(scores: Tensor, **_: object) -> Tensor:
        attention = softmax(scores, dim=-1)  # some models ask for float32 here, whatever they run in
        if attention.dim() != 4:  # SigLIP's pooling head, which its classifier does not read
            return attention
        attention = attention * weights[:, next(layers), None, None]
        return attention / attention.sum(-1, keepdim=True)

    nn.functional.softmax = masked
    try:
        yield
    finally:
        nn.functional.softmax = softmax


def eager(name: str) -> nn.Module:
    model = build(name).double()
    model.model.set_attn_implementation("eager")
    return model


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", HUGGING_FACE)
@pytest.mark.parametrize("target", [1, Margin(2, 0)])
def test_equals_autograd_through_a_soft_mask_on_eager_attention(name: str, target: object) -> None:
    model, x = build(name).double(), pixels().double()
    grid = find_layout(model).grid(32, 32)
    presence = torch.ones(2, grid.patches, dtype=torch.float64, requires_grad=True)
    open_model = eager(name)
    with soft_mask(presence, grid.prefix):
        logits = open_model(x)
    torch.testing.assert_close(logits, model(x))
    y = logits[:, 1] if target == 1 else logits[:, 2] - logits[:, 0]
    (expected,) = torch.autograd.grad(y.sum(), presence)
    got = MaskGradient(model).attribute_patches(x, target).flatten(1)
    assert relative(got, expected) <= 1e-10
    single = MaskGradient(build(name)).attribute_patches(x.float(), target).flatten(1)
    assert relative(single, expected) <= 2e-5


@pytest.mark.parametrize("name", ["clip", "dinov2_registers", "clip_mean_pooled"])
@pytest.mark.parametrize("path", PATHS)
def test_integrated_equals_autograd_at_the_same_points(name: str, path: str) -> None:
    model, x = build(name).double(), pixels().double()
    grid = find_layout(model).grid(32, 32)
    open_model, expected = eager(name), torch.zeros(2, grid.patches, dtype=torch.float64)
    for alpha, weight in presence_path(5, path, "gauss_legendre"):
        presence = torch.full((2, grid.patches), alpha, dtype=torch.float64, requires_grad=True)
        with soft_mask(presence, grid.prefix):
            y = open_model(x)[:, 1].sum()
        expected += weight * torch.autograd.grad(y, presence)[0]
    method = IntegratedMaskGradient(model, 5, path, "gauss_legendre")
    assert relative(method.attribute_patches(x, 1).flatten(1), expected) <= 1e-10


@pytest.mark.parametrize("name", ZOO)
def test_equals_finite_differences(name: str) -> None:
    model, x = build(name).double(), pixels(1).double()
    grid = find_layout(model).grid(32, 32)
    got = MaskGradient(model).attribute_patches(x, 1).flatten(1)[0]
    step = 1e-5
    for patch in (0, 7, grid.patches - 1):
        y = []
        for m in (1 + step, 1 - step):  # beyond 1 is no presence, but the function goes on
            presence = torch.ones(1, grid.patches, dtype=torch.float64)
            presence[0, patch] = m
            with torch.no_grad(), mask_patches(model, presence, grid):
                y.append(model(x)[0, 1])
        assert abs((y[0] - y[1]) / (2 * step) - got[patch]) <= 1e-6 * got.abs().max()


@pytest.mark.parametrize("name", WITH_PREFIX)
def test_integrated_is_complete(name: str) -> None:
    model, x = build(name).double(), pixels().double()
    if name == "torch_encoder":  # with ReLU the slope jumps along the path, and quadrature is slow
        for layer in model.encoder.layers:
            layer.activation, layer.activation_relu_or_gelu = nn.functional.gelu, 2
    grid = find_layout(model).grid(32, 32)
    with torch.no_grad():
        present = model(x)[:, 2]
        with mask_patches(model, torch.zeros(2, grid.patches, dtype=torch.bool), grid):
            rise = present - model(x)[:, 2]
    method = IntegratedMaskGradient(model, 48, "s^8", "gauss_legendre", internal_batch_size=64)
    attribution, delta = method.attribute(x, 2, return_convergence_delta=True)
    torch.testing.assert_close(attribution.sum((1, 2, 3)) - rise, delta, rtol=0, atol=1e-10)
    assert delta.abs().max() <= 0.01 * rise.abs().max()
    assert method.has_convergence_delta()
    captum_form = method.compute_convergence_delta((attribution,), None, (x,), 2)
    torch.testing.assert_close(captum_form, delta, rtol=0, atol=1e-10)


def test_more_steps_come_closer() -> None:
    model, x = build("clip").double(), pixels().double()
    delta = [
        IntegratedMaskGradient(model, n).attribute(x, 1, return_convergence_delta=True)[1].abs().max()
        for n in (4, 16, 64)
    ]
    assert delta[0] > 4 * delta[1] > 16 * delta[2]


@pytest.mark.parametrize("name", ["siglip", "siglip_pooling_head"])
def test_without_prefix_token(name: str) -> None:
    """A common factor of all keys cancels in the softmax: gradients sum to 0, and no path leads away."""
    model, x = build(name).double(), pixels().double()
    got = MaskGradient(model).attribute_patches(x, 1)
    assert got.abs().max() > 1e-3
    assert got.sum((1, 2)).abs().max() <= 1e-12
    with pytest.raises(ModelError, match="nothing remains"):
        IntegratedMaskGradient(model).attribute(x, 1)


def test_targets_share_the_forward_passes_and_do_not_mix() -> None:
    model, x = build("clip"), pixels()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    targets = [*range(CLASSES), Margin(1)]
    for method, forwards in (
        (MaskGradient(model), 1),
        (IntegratedMaskGradient(model, 6, internal_batch_size=32), 1),
    ):
        method.attribute_patches(x, 0)  # finds the layout
        calls.clear()
        together = method.attribute_targets(x, targets)
        assert len(calls) == forwards
        for got, target in zip(together, targets, strict=True):
            torch.testing.assert_close(got, method.attribute_patches(x, target), rtol=1e-4, atol=1e-7)


def test_arguments_that_are_no_batch_are_passed_on_as_they_are() -> None:
    model, x = build("clip"), pixels(2)
    method = IntegratedMaskGradient(model, 3)
    shift = torch.tensor([0.0, 2.0, -1.0])  # per class
    torch.testing.assert_close(method.attribute_patches(x, 1, shift), method.attribute_patches(x, 1))


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_internal_batches_do_not_change_the_map(size: int) -> None:
    model, x = build("vit"), pixels(2)
    bias = torch.tensor([[0.0, 1.0, 0.0], [0.5, -1.0, 0.0]])
    whole = IntegratedMaskGradient(model, 6, internal_batch_size=32).attribute_patches(x, [1, 0], bias)
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    method = IntegratedMaskGradient(model, 6, internal_batch_size=size)
    got = method.attribute_patches(x, [1, 0], bias)
    torch.testing.assert_close(got, whole, rtol=1e-4, atol=1e-7)
    assert max(sizes) <= max(size, 2)


def test_chunks_of_rows_do_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip").double(), pixels().double()
    whole = MaskGradient(model).attribute_patches(x, 1)
    monkeypatch.setattr(
        "xai.attr.mask_gradient.row_chunks",
        lambda call, rows: [
            [*range(i, min(i + 5, call.query.shape[-2]))] for i in range(0, call.query.shape[-2], 5)
        ],
    )
    torch.testing.assert_close(MaskGradient(model).attribute_patches(x, 1), whole)


def test_noise_tunnel_passes_the_delta_on() -> None:
    tunnel = NoiseTunnel(IntegratedMaskGradient(build("clip"), 4))
    _, delta = tunnel.attribute(pixels(), nt_samples=2, stdevs=0.0, target=1, return_convergence_delta=True)
    _, expected = IntegratedMaskGradient(build("clip"), 4).attribute(
        pixels(), 1, return_convergence_delta=True
    )
    torch.testing.assert_close(delta.view(2, 2).mean(1), expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("rule", RULES)
def test_paths_integrate(path: str, rule: str) -> None:
    alpha, weight = np.array(presence_path(200, path, rule)).T
    assert alpha.min() > 0
    assert alpha.max() < 1
    assert weight.min() > 0
    for exponent in range(4):
        assert abs((weight * alpha**exponent).sum() - 1 / (exponent + 1)) < 2e-3


@pytest.mark.parametrize(
    "options",
    [
        {"n_steps": 0},
        {"path": "log"},
        {"rule": "simpson"},
        {"internal_batch_size": 0},
        {"path_over": "layers"},
        {"clamp": "fused"},
    ],
)
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        IntegratedMaskGradient(build("clip"), **options)


def test_a_start_image_is_refused() -> None:
    method, x = IntegratedMaskGradient(build("clip"), 2), pixels()
    with pytest.raises(UsageError, match="start_point"):
        method.compute_convergence_delta(x, torch.zeros_like(x), x, 1)


def test_what_it_should_sum_to_is_known_before_the_first_map() -> None:
    model, x = build("clip").double(), pixels().double()
    first = IntegratedMaskGradient(model, 64).score_changes(x, [0, 1])
    method = IntegratedMaskGradient(model, 64)
    sums = method.attribute_targets(x, [0, 1]).flatten(2).sum(2)
    torch.testing.assert_close(first, method.score_changes(x, [0, 1]))
    torch.testing.assert_close(first, sums, rtol=1e-2, atol=1e-4)


def test_clamped_heads_are_the_positive_shares_and_claim_no_completeness() -> None:
    model, x = build("clip").double(), pixels().double()
    shares = IntegratedMaskGradient(model, 4).attribute_layers(x, 1)
    method = IntegratedMaskGradient(model, 4, clamp="heads")
    expected = torch.where(shares > 0, shares, 0).sum((1, 2))
    torch.testing.assert_close(method.attribute_patches(x, 1), expected)
    assert not method.has_convergence_delta()
    with pytest.raises(UsageError, match="integrated_mask_gradient has no delta"):
        method.attribute(x, 1, return_convergence_delta=True)


def masked_rise(model: nn.Module, x: Tensor, presence: Tensor, target: int) -> Tensor:
    """y(x) − y under a presence."""
    grid = find_layout(model).grid(32, 32)
    with torch.no_grad():
        present = model(x)[:, target]
        with mask_patches(model, presence, grid):
            return present - model(x)[:, target]


@pytest.mark.parametrize("name", ["clip", "dinov2_registers", "clip_mean_pooled"])
@pytest.mark.parametrize("path_over", PATHS_OVER)
def test_layers_equal_autograd_on_a_presence_per_layer(name: str, path_over: str) -> None:
    """Layers one after another: at every point the gradient of the fading layer's own presence."""
    model, x, steps = build(name).double(), pixels().double(), 3
    grid = find_layout(model).grid(32, 32)
    order = {"layers_up": range(LAYERS), "layers_down": reversed(range(LAYERS))}.get(path_over, [None])
    expected, there = torch.zeros(2, LAYERS, grid.patches, dtype=torch.float64), []
    open_model = eager(name)
    for fading in order:
        for alpha, weight in presence_path(steps, "s^3", "gauss_legendre"):
            level = torch.full((LAYERS,), alpha if fading is None else 0.0, dtype=torch.float64)
            level[there] = 1
            level[slice(None) if fading is None else fading] = alpha
            presence = level[None, :, None].repeat(2, 1, grid.patches).requires_grad_()
            with soft_mask_of_layers(presence, grid.prefix):
                y = open_model(x)[:, 1].sum()
            gradient = weight * torch.autograd.grad(y, presence)[0]
            chosen = slice(None) if fading is None else fading
            expected[:, chosen] += gradient[:, chosen]
        there.append(fading)
    method = IntegratedMaskGradient(model, steps, "s^3", "gauss_legendre", 6, path_over)
    layers = method.attribute_layers(x, 1)
    assert layers.shape == (2, LAYERS, HEADS, 4, 4)
    assert relative(layers.sum(2).flatten(2), expected) <= 1e-10
    torch.testing.assert_close(layers.sum((1, 2)), method.attribute_patches(x, 1))


@pytest.mark.parametrize("name", ["clip", "deit", "clip_mean_pooled"])
@pytest.mark.parametrize("path_over", ["layers_up", "layers_down"])
def test_every_layer_is_complete_against_where_it_started(name: str, path_over: str) -> None:
    """So the sums telescope to y(x) − y(all masked), whatever the order."""
    model, x = build(name).double(), pixels().double()
    method = IntegratedMaskGradient(model, 40, "s^8", "gauss_legendre", 64, path_over)
    got = method.attribute_layers(x, 1).sum((2, 3, 4))
    patches = find_layout(model).grid(32, 32).patches
    rises = []  # from everything masked in some layers to everything present
    for absent in range(LAYERS + 1):
        presence = torch.ones(1, LAYERS, patches, dtype=torch.bool)
        presence[:, slice(absent, None) if path_over == "layers_up" else slice(absent)] = False
        rises.append(masked_rise(model, x, presence, 1))
    steps = torch.stack(rises, dim=1).diff(dim=1)
    expected = -steps if path_over == "layers_up" else steps
    assert (got - expected).abs().max() <= 1e-3 * expected.abs().max()
    delta = method.attribute(x, 1, return_convergence_delta=True)[1]
    torch.testing.assert_close(delta, got.sum(1) - masked_rise(model, x, presence[:, :1] & False, 1))


def test_what_is_complete_in_a_mean_pooled_model_leaves_out_what_patches_tell_the_classifier() -> None:
    """With all keys masked a class-token model knows nothing of the image; a mean-pooled one still does."""
    x = pixels(2).double()
    for name, blind in (("clip", True), ("clip_mean_pooled", False)):
        model = build(name).double()
        grid = find_layout(model).grid(32, 32)
        nothing = torch.zeros(1, grid.patches, dtype=torch.bool)
        with torch.no_grad(), mask_patches(model, nothing, grid):
            first, second = model(x)
        assert torch.allclose(first, second, rtol=0, atol=1e-12) == blind


@pytest.mark.parametrize("name", ["clip_mean_pooled", "siglip", "dinov2", "clip", "siglip_pooling_head"])
def test_models_that_read_patches_directly_are_told(name: str) -> None:
    methods = [MaskGradient(build(name))]
    if find_layout(build(name)).grid(32, 32).prefix:
        methods.append(IntegratedMaskGradient(build(name), 2))
    for method in methods:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            method.attribute_patches(pixels(), 1)
        told = [str(w.message) for w in caught if "reads patch tokens directly" in str(w.message)]
        assert bool(told) == (name in ("clip_mean_pooled", "siglip", "dinov2"))
