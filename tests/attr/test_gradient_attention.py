"""Gradient-weighted attention against eager autograd, and none of the defects of earlier scripts."""

import itertools
import math

import pytest
import torch
from captum.attr import LayerActivation, LayerGradientXActivation
from torch import Tensor
from vit_zoo import CLASSES, HUGGING_FACE, LAYERS, ZOO, build, pixels

from xai.attention import find_layout, probe
from xai.attention.diagnose import explicit_attention
from xai.attr import LAYER_PRESETS, GradientWeightedAttention, RawAttention, attribute_many
from xai.core import Margin, ModelError, UsageError

INDICES = {
    "last_layer": [5],
    "last_2_layers": [4, 5],
    "last_4_layers": [2, 3, 4, 5],
    "spaced_layers": [0, 2, 4],
    "all_layers": [0, 1, 2, 3, 4, 5],
}


def eager(name: str, x: Tensor, target: int) -> tuple[list[Tensor], list[Tensor]]:
    """A and ∂y/∂A of every layer from transformers' own eager attention."""
    model = build(name)
    model.model.set_attn_implementation("eager")
    output = model.model(pixel_values=x, output_attentions=True)
    logits = output.logits if model.head is None else model.head(output.pooler_output)
    maps = list(output.attentions)
    gradients = torch.autograd.grad(logits[:, target].sum(), maps)
    return [m.detach() for m in maps], list(gradients)


def by_definition(maps, gradients, rows, layers, head_fusion, layer_fusion, clamp) -> Tensor:
    """The method written out, in double precision, on full matrices."""
    fused = []
    for layer in layers:
        product = maps[layer].double() * gradients[layer].double()
        product = product.clamp(min=0) if clamp == "heads" else product
        row = product[:, :, rows].mean(2)
        fused.append({"mean": row.mean(1), "max": row.max(1).values, "min": row.min(1).values}[head_fusion])
    stack = torch.stack(fused)
    result = {
        "mean": stack.mean(0),
        "sum": stack.sum(0),
        "max": stack.max(0).values,
        "product": stack.prod(0),
    }[layer_fusion]
    return result.clamp(min=0) if clamp == "fused" else result


def magnitude(maps, gradients, layers, layer_fusion) -> float:
    """Size of what is fused: opposite signs may cancel, and float errors are relative to the terms."""
    sizes = [float((maps[i] * gradients[i]).detach().abs().max()) for i in layers]
    return {"mean": max, "max": max, "sum": sum, "product": math.prod}[layer_fusion](sizes)


def close(got: Tensor, expected: Tensor, relative: float = 1e-5) -> bool:
    return float((got - expected).abs().max()) <= relative * float(expected.abs().max())


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_equals_eager_autograd_for_every_option(name: str) -> None:
    model, x, target = build(name), pixels(), 1
    maps, gradients = eager(name, x, target)
    grid = find_layout(model).grid(32, 32)
    seen = probe(model, x, (), grid)
    combinations = list(
        itertools.product(
            LAYER_PRESETS, ("mean", "max", "min"), ("mean", "sum", "max", "product"), ("fused", "heads", None)
        )
    )
    methods = {str(options): GradientWeightedAttention(model, *options) for options in combinations}
    together = attribute_many(methods, x, [target])
    for preset, head, layer, clamp in combinations:
        expected = by_definition(maps, gradients, list(seen.rows), INDICES[preset], head, layer, clamp)
        got = together[str((preset, head, layer, clamp))][0]
        error = float((got - grid.to_patches(expected)).abs().max())
        assert error <= 1e-5 * magnitude(maps, gradients, INDICES[preset], layer), (
            preset,
            head,
            layer,
            clamp,
        )
    for preset in LAYER_PRESETS:  # alone, only the layers read are recorded
        options = (preset, "max", "sum", None)
        assert close(methods[str(options)].attribute_patches(x, target), together[str(options)][0])


@pytest.mark.parametrize("name", ["siglip_pooling_head", "torch_encoder"])
def test_equals_attention_in_the_open_where_there_is_no_eager_mode(name: str) -> None:
    model, x = build(name), pixels()
    grid = find_layout(model).grid(32, 32)
    seen = probe(model, x, (), grid)
    maps, gradients = explicit_attention(model, x, (), grid.tokens, lambda logits: logits[:, 1].sum())
    for clamp in ("fused", "heads", None):
        fused = [
            by_definition(
                maps, gradients, seen.rows_of(i), [i], "mean", "mean", clamp if clamp == "heads" else None
            )
            for i in range(seen.layers)
        ]
        expected = torch.stack(fused).mean(0)
        expected = expected.clamp(min=0) if clamp == "fused" else expected
        got = GradientWeightedAttention(model, clamp=clamp).attribute_patches(x, 1)
        assert close(got, grid.to_patches(expected))


@pytest.mark.parametrize("name", ["clip", "vit"])
def test_equals_captum_on_eager_attention(name: str) -> None:
    x = pixels()
    got = GradientWeightedAttention(build(name), "last_layer").attribute_layers(x, 2)[:, 0]
    model = build(name)
    model.model.set_attn_implementation("eager")
    attention = (
        model.model.encoder.layers[-1].self_attn if name == "clip" else model.model.vit.layers[-1].attention
    )
    captum = LayerGradientXActivation(model, attention).attribute(x, target=2)[1]
    assert close(got.flatten(2), captum[:, :, 0, 1:].detach())
    raw = LayerActivation(model, attention).attribute(x)[1]
    assert close(RawAttention(build(name)).attribute_patches(x).flatten(1), raw.mean(1)[:, 0, 1:].detach())


@pytest.mark.parametrize("name", ZOO)
def test_layers_before_any_fusion(name: str) -> None:
    x = pixels(3)
    method = GradientWeightedAttention(build(name), [0, -2], clamp=None)
    layers = method.attribute_layers(x, 0)
    assert layers.shape == (3, 2, 4, 4, 4)
    assert (layers < 0).any()
    torch.testing.assert_close(layers.mean(2).mean(1), method.attribute_patches(x, 0))


def test_targets_share_one_forward_pass_and_do_not_mix() -> None:
    model, x = build("clip"), pixels()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = GradientWeightedAttention(model)
    method.attribute_patches(x, 0)  # finds the layout
    calls.clear()
    together = method.attribute_targets(x, [0, 1, 2, Margin(1)])
    assert len(calls) == 1
    for i, target in enumerate([0, 1, 2, Margin(1)]):
        torch.testing.assert_close(together[i], method.attribute_patches(x, target))


def test_a_margin_is_the_difference_of_signed_maps() -> None:
    model, x = build("clip"), pixels()
    method = GradientWeightedAttention(model, clamp=None)
    first, second, margin = method.attribute_targets(x, [2, 0, Margin(2, 0)])
    torch.testing.assert_close(margin, first - second)
    logits = model(x).detach()
    best_other = [max((c for c in range(CLASSES) if c != 1), key=lambda c: float(row[c])) for row in logits]
    torch.testing.assert_close(
        method.attribute_patches(x, Margin(1)),
        method.attribute_patches(x, 1) - method.attribute_patches(x, best_other),
    )


def test_chefers_rule_is_a_limit() -> None:
    """One layer, heads clamped, mean of heads, class row: E_h (∂A ⊙ A)⁺ of arXiv 2103.15679."""
    x = pixels()
    maps, gradients = eager("clip", x, 0)
    chefer = (maps[-1] * gradients[-1]).clamp(min=0).mean(1)[:, 0, 1:].reshape(2, 4, 4)
    assert close(GradientWeightedAttention(build("clip"), -1, clamp="heads").attribute_patches(x, 0), chefer)


# The defects of the script that this method comes from, one test each


def test_defect_1_gradient_reaches_the_attention_and_maps_are_not_blank() -> None:
    for name in ZOO:
        for target in range(CLASSES):
            assert (
                GradientWeightedAttention(build(name), clamp=None)
                .attribute_patches(pixels(), target)
                .abs()
                .max()
                > 0
            )


def test_defect_1_no_map_is_returned_where_no_gradient_passes() -> None:
    class Cut(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).detach()

    with pytest.raises(ModelError):
        GradientWeightedAttention(Cut(build("clip"))).attribute_patches(pixels(), 0)


def test_defect_3_maps_of_two_classes_keep_their_scale() -> None:
    model, x = build("clip"), pixels()
    with torch.no_grad():
        model.head.weight[1] = 3 * model.head.weight[0]
    first, second = GradientWeightedAttention(model).attribute_targets(x, [0, 1])
    torch.testing.assert_close(second, 3 * first)


@pytest.mark.parametrize(("height", "width"), [(16, 48), (40, 24)])
def test_defect_5_grids_need_not_be_square(height: int, width: int) -> None:
    model, x = build("dinov2"), pixels(height=height, width=width)
    got = GradientWeightedAttention(model).attribute_patches(x, 0)
    assert got.shape == (2, height // 8, width // 8)
    maps, gradients = explicit_attention(model, x, (), got[0].numel() + 1, lambda logits: logits[:, 0].sum())
    expected = by_definition(maps, gradients, [0], list(range(6)), "mean", "mean", None)[:, 1:]
    assert close(got, expected.reshape(got.shape))


def test_defect_5_the_input_is_not_touched() -> None:
    x = pixels()
    before = x.clone()
    GradientWeightedAttention(build("clip")).attribute(x, 0)
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None


@pytest.mark.parametrize("layers", ["last_five", [], [0, 6], [-7], [1, 1], [-1, 5]])
def test_wrong_layers_are_told(layers: object) -> None:
    with pytest.raises(UsageError, match=r"[Ll]ayer"):
        GradientWeightedAttention(build("clip"), layers).attribute_patches(pixels(), 0)


def test_presets_name_the_layers_they_say() -> None:
    for preset, indices in INDICES.items():
        assert GradientWeightedAttention(build("clip"), preset).layer_indices(LAYERS) == indices
    with pytest.raises(UsageError, match="has 3 attention layers"):
        GradientWeightedAttention(build("clip"), "last_4_layers").layer_indices(3)


@pytest.mark.parametrize("option", [{"head_fusion": "men"}, {"layer_fusion": "add"}, {"clamp": "head"}])
def test_unknown_options_name_the_nearest(option: dict) -> None:
    with pytest.raises(UsageError, match="Did you mean|Valid"):
        GradientWeightedAttention(build("clip"), **option)
