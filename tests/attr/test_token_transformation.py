"""TokenTM against dense matrices, the transformed tokens written out, in double precision."""

import pytest
import torch
from open_attention import Opened, opened, relative
from torch import Tensor
from vit_zoo import CLASSES, ZOO, build, pixels

from xai.attr import Chefer, TokenTransformation
from xai.core import Margin, ModelError


def matrices(open_model: Opened) -> list[Tensor]:
    """`E_h (∂y/∂A ⊙ A)⁺ diag(W)` of each layer, (B, N, M)."""
    gradients = open_model.gradients(open_model.logits[:, 2] - open_model.logits[:, 0])
    found = []
    for i, (layer, gradient) in enumerate(zip(open_model.layers, gradients, strict=True)):
        before, heads = open_model.streams[i], layer.value.shape[1]
        per_head = open_model.projection(i).unflatten(1, (heads, -1))  # D, H, e
        total = torch.zeros(())
        for h in range(heads):
            after = torch.einsum("bje,de->bjd", layer.value[:, h], per_head[:, h])
            direction = torch.cosine_similarity(before, after, dim=-1).exp()
            direction = direction / direction.sum(1, keepdim=True)
            weight = direction * after.norm(dim=-1) / before.norm(dim=-1)
            total = total + (layer.attention * gradient)[:, h].relu() * weight[:, None, :]
        found.append(total / heads)
    return found


@pytest.mark.parametrize("family", ZOO)
def test_equals_dense_matrices(family: str) -> None:
    open_model = opened(family)
    layers, seen = matrices(open_model), open_model.seen
    relevance = torch.diag_embed(open_model.streams[0].norm(dim=-1))
    for matrix in layers[: seen.layers - seen.pooling]:
        relevance = relevance + matrix @ relevance
    if seen.pooling:
        relevance = layers[-1] @ relevance
    read = relevance[:, open_model.rows(seen.layers - 1)].mean(1)
    got = TokenTransformation(open_model.model).attribute_patches(open_model.x, Margin(2, 0))
    assert relative(got, seen.grid.to_patches(read.detach())) <= 1e-10


def test_with_weights_of_one_it_is_chefers_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip"), pixels()
    module = "xai.attr.token_transformation"
    monkeypatch.setattr(f"{module}.transformation_weights", lambda call, _: torch.ones(2, 4, 17))
    monkeypatch.setattr("xai.attr.value_projection.Transformation.length", lambda _: torch.ones(2, 17))
    torch.testing.assert_close(
        TokenTransformation(model).attribute_patches(x, 1), Chefer(model).attribute_patches(x, 1)
    )


@pytest.mark.parametrize("family", ["clip", "clip_mean_pooled", "siglip_pooling_head"])
def test_targets_share_one_forward_pass_and_do_not_mix(family: str) -> None:
    model, x, calls = build(family), pixels(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = TokenTransformation(model)
    method.attribute_patches(x, 0)  # finds the layout and the blocks
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 1
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target))


def test_chunks_of_rows_do_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip_mean_pooled"), pixels()
    whole = TokenTransformation(model).attribute_patches(x, 1)
    monkeypatch.setattr(
        "xai.attr.token_transformation.row_chunks",
        lambda call, rows, copies: [[*range(i, min(i + 5, 17))] for i in range(0, 17, 5)],
    )
    torch.testing.assert_close(TokenTransformation(model).attribute_patches(x, 1), whole)


def test_a_norm_between_attention_and_projection_is_told() -> None:
    model = build("clip")
    for layer in model.model.encoder.layers:
        layer.self_attn.out_proj = torch.nn.Sequential(torch.nn.LayerNorm(32), layer.self_attn.out_proj)
    with pytest.raises(ModelError, match="straight to a linear map"):
        TokenTransformation(model).attribute_patches(pixels(), 1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
