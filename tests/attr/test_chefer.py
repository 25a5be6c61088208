"""Chefer's generic rule against full matrices from eager autograd."""

import pytest
import torch
from torch import Tensor
from vit_zoo import CLASSES, HUGGING_FACE, ZOO, build, pixels

from xai.attention import find_layout, probe
from xai.attention.diagnose import explicit_attention
from xai.attr import Chefer, GradientWeightedAttention
from xai.core import Margin


def close(got: Tensor, expected: Tensor, relative: float = 1e-5) -> bool:
    return float((got - expected).abs().max()) <= relative * float(expected.abs().max())


def by_definition(maps: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """R of the paper: identity, then one matrix product per layer, in double precision."""
    relevance = torch.eye(maps[0].shape[-1], dtype=torch.float64).expand(len(maps[0]), -1, -1)
    for attention, gradient in zip(maps, gradients, strict=True):
        weighted = (attention.double() * gradient.double()).clamp(min=0).mean(1)
        relevance = relevance + weighted @ relevance
    return relevance


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_equals_full_matrices_from_eager_attention(name: str) -> None:
    x, target = pixels(), 1
    model = build(name)
    grid = find_layout(model).grid(32, 32)
    seen = probe(model, x, (), grid)
    got = Chefer(model).attribute_patches(x, target)
    model.model.set_attn_implementation("eager")
    output = model.model(pixel_values=x, output_attentions=True)
    logits = output.logits if model.head is None else model.head(output.pooler_output)
    gradients = torch.autograd.grad(logits[:, target].sum(), output.attentions)
    relevance = by_definition([m.detach() for m in output.attentions], list(gradients))
    expected = grid.to_patches(relevance[:, list(seen.rows)].mean(1))
    assert close(got, expected)
    assert (got > 0).any()


@pytest.mark.parametrize("name", ["siglip_pooling_head", "torch_encoder"])
def test_equals_full_matrices_where_there_is_no_eager_mode(name: str) -> None:
    model, x = build(name), pixels()
    grid = find_layout(model).grid(32, 32)
    maps, gradients = explicit_attention(model, x, (), grid.tokens, lambda logits: logits[:, 1].sum())
    if name == "siglip_pooling_head":
        head = (maps.pop() * gradients.pop()).clamp(min=0).mean(1).double()
        expected = (head @ by_definition(maps, gradients)).mean(1)
    else:
        expected = by_definition(maps, gradients)[:, 0]
    assert close(Chefer(model).attribute_patches(x, 1), grid.to_patches(expected))


def test_targets_share_one_forward_pass_and_do_not_mix() -> None:
    model, x = build("clip"), pixels()
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = Chefer(model)
    method.attribute_patches(x, 0)  # finds the layout
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 1
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target))


def test_chunks_of_rows_do_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip_mean_pooled"), pixels()
    whole = Chefer(model).attribute_patches(x, 1)
    chunked = []

    def few(call, rows, copies=1):
        chosen = list(range(call.query.shape[-2])[rows] if isinstance(rows, slice) else rows)
        chunked.append(len(chosen))
        return [chosen[i : i + 5] for i in range(0, len(chosen), 5)]

    monkeypatch.setattr("xai.attr.chefer.row_chunks", few)
    torch.testing.assert_close(Chefer(model).attribute_patches(x, 1), whole)
    assert chunked == [16, 17, 17, 17, 17, 17]  # the last layer needs the rows that are read alone


def test_without_lower_layers_it_is_gradient_weighted_attention() -> None:
    """Silence all layers but the last: R's row is then that layer's clamped product."""
    model, x = build("clip"), pixels()
    with torch.no_grad():
        for layer in list(model.model.encoder.layers)[:-1]:
            layer.self_attn.out_proj.weight.zero_()
            layer.self_attn.out_proj.bias.zero_()
    one_layer = GradientWeightedAttention(model, "last_layer", clamp="heads")
    torch.testing.assert_close(
        Chefer(model).attribute_patches(x, 2), one_layer.attribute_patches(x, 2), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("name", ZOO)
def test_no_map_is_blank(name: str) -> None:
    assert Chefer(build(name)).attribute_patches(pixels(), 0).flatten(1).amax(1).min() > 0
