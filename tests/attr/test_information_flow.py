"""Transition attention maps and Beyond Intuition against dense matrices from attention in the open."""

import pytest
import torch
from open_attention import Opened, opened, relative
from sequence_first import SequenceFirst
from torch import Tensor
from vit_zoo import CLASSES, ZOO, build, pixels

from xai.attention.diagnose import explicit_attention
from xai.attr import BTHead, BTToken, TransitionAttentionMaps, create
from xai.core import Margin, ModelError, UsageError

NAMES = ["transition_attention_maps", "bt_head", "bt_token"]
START = {"transition_attention_maps": 2, "bt_head": 1, "bt_token": 2}  # of 6 layers


def margin(logits: Tensor) -> Tensor:
    return logits[:, 2] - logits[:, 0]


def last_gradient(family: str, x: Tensor, steps: int) -> Tensor:
    """(B, N, N): per head the mean over the path, then clamped, then the mean over the heads."""
    total = torch.zeros(())
    for k in range(steps):
        scaled = opened(family, x * (k / (steps - 1) if steps > 1 else 1.0))
        total = total + scaled.gradients(margin(scaled.logits))[-1]
    return (total / steps).relu().mean(1)


def read(open_model: Opened, relevance: Tensor) -> Tensor:
    rows = open_model.rows(len(open_model.layers) - 1)
    return open_model.seen.grid.to_patches(relevance[:, rows].mean(1).detach())


def transitions(open_model: Opened, start: int) -> Tensor:
    fused = [layer.attention.mean(1) for layer in open_model.layers]
    states = fused[-1]
    for attention in reversed(fused[start:-1]):
        states = states @ attention + states
    return states


def rolled(open_model: Opened, matrices: list[Tensor], start: int) -> Tensor:
    """R ← R + Ā R from the identity, as written; a pooling head has no residual."""
    relevance = torch.eye(open_model.seen.grid.tokens, dtype=torch.float64)
    trunk = matrices[:-1] if open_model.seen.pooling else matrices
    for matrix in trunk[start:]:
        relevance = relevance + matrix @ relevance
    return matrices[-1] @ relevance if open_model.seen.pooling else relevance


def head_wise(open_model: Opened, start: int) -> Tensor:
    gradients, matrices = open_model.gradients(margin(open_model.logits)), []
    for layer, gradient in zip(open_model.layers, gradients, strict=True):
        weight = (layer.attention.transpose(-2, -1) @ gradient).abs().mean((-2, -1))
        weight = weight / weight.sum(1, keepdim=True)
        matrices.append((weight[..., None, None] * layer.attention).sum(1))
    return rolled(open_model, matrices, start)


def token_wise(open_model: Opened, start: int) -> Tensor:
    matrices = []
    for i, layer in enumerate(open_model.layers):
        values = layer.value.transpose(1, 2).flatten(2)
        length = (values @ open_model.projection(i).T).norm(dim=-1) / open_model.streams[i].norm(dim=-1)
        matrices.append(layer.attention.mean(1) @ torch.diag_embed(length))
    return rolled(open_model, matrices, start)


FLOWS = {"transition_attention_maps": transitions, "bt_head": head_wise, "bt_token": token_wise}


@pytest.mark.parametrize("family", ZOO)
def test_equals_dense_matrices(family: str) -> None:
    open_model = opened(family)
    gradient = last_gradient(family, open_model.x, 5)
    for name in NAMES:
        expected = read(open_model, FLOWS[name](open_model, START[name]) * gradient)
        got = create(name, open_model.model, n_steps=5).attribute_patches(open_model.x, Margin(2, 0))
        assert relative(got, expected) <= 1e-10, name
        assert (expected > 0).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 3, -1])
def test_any_start_layer_and_a_single_step(name: str, start: int) -> None:
    """One step is the gradient at the input itself."""
    open_model = opened("vit")
    expected = read(open_model, FLOWS[name](open_model, start % 6) * last_gradient("vit", open_model.x, 1))
    got = create(name, open_model.model, n_steps=1, start_layer=start).attribute_patches(
        open_model.x, Margin(2, 0)
    )
    assert relative(got, expected) <= 1e-10


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_internal_batches_do_not_change_the_map(name: str, size: int) -> None:
    model, x = build("clip_mean_pooled"), pixels(2)
    bias = torch.tensor([[0.0, 1.0, 0.0], [0.5, -1.0, 0.0]])
    whole = create(name, model, n_steps=6).attribute_patches(x, [1, 0], bias)
    sizes = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    got = create(name, model, n_steps=6, internal_batch_size=size).attribute_patches(x, [1, 0], bias)
    torch.testing.assert_close(got, whole, rtol=1e-4, atol=1e-7)
    assert max(sizes) <= max(size, 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["clip", "clip_mean_pooled", "siglip_pooling_head"])
def test_targets_share_the_forward_passes_and_do_not_mix(name: str, family: str) -> None:
    model, x, calls = build(family), pixels(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = create(name, model, n_steps=3)
    method.attribute_patches(x, 0)  # finds the layout and the blocks
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 2  # the input, and all points of the path at once
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_chunks_of_rows_do_not_change_the_map(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip_mean_pooled"), pixels()
    whole = create(name, model, n_steps=2).attribute_patches(x, 1)

    def few(call, rows, copies=1):
        chosen = list(range(call.query.shape[-2])[rows] if isinstance(rows, slice) else rows)
        return [chosen[i : i + 5] for i in range(0, len(chosen), 5)]

    monkeypatch.setattr("xai.attr.information_flow.row_chunks", few)
    torch.testing.assert_close(create(name, model, n_steps=2).attribute_patches(x, 1), whole)


@pytest.mark.parametrize("method", [BTHead, TransitionAttentionMaps])
@pytest.mark.parametrize("options", [{"n_steps": 0}, {"internal_batch_size": 0}], ids=lambda o: next(iter(o)))
def test_wrong_options_are_told(method: type, options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        method(build("clip"), **options)


@pytest.mark.parametrize("start", [6, -7])
def test_a_start_layer_that_the_model_lacks_is_told(start: int) -> None:
    with pytest.raises(UsageError, match="has 6 attention layers"):
        BTHead(build("clip"), start_layer=start).attribute_patches(pixels(), 1)


def test_a_norm_between_attention_and_projection_is_told() -> None:
    model = build("clip")
    for layer in model.model.encoder.layers:
        layer.self_attn.out_proj = torch.nn.Sequential(torch.nn.LayerNorm(32), layer.self_attn.out_proj)
    with pytest.raises(ModelError, match="straight to a linear map"):
        BTToken(model).attribute_patches(pixels(), 1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_sequence_first_blocks_with_multihead_attention() -> None:
    """The streams of a sequence-first model, the projection of nn.MultiheadAttention."""
    torch.manual_seed(0)
    model, x = SequenceFirst().eval().double(), pixels().double()
    tokens = model.embed(x).flatten(2).permute(2, 0, 1)
    tokens = torch.cat([model.class_token.expand(-1, 2, -1), tokens])
    streams, fused = [], []
    for block in model.blocks:
        streams.append(tokens)
        normed = block.norm(tokens)
        fused.append(block.attention(normed, normed, normed)[1])
        tokens = block(tokens)[0]
    relevance = torch.eye(17, dtype=torch.float64)
    for block, stream, attention in zip(model.blocks, streams, fused, strict=True):
        value = block.norm(stream) @ block.attention.in_proj_weight[64:].T + block.attention.in_proj_bias[64:]
        length = (value @ block.attention.out_proj.weight.T).norm(dim=-1) / stream.norm(dim=-1)
        relevance = relevance + attention @ torch.diag_embed(length.T) @ relevance
    _, gradients = explicit_attention(model, x, (), 17, lambda logits: logits[:, 1].sum())
    expected = (relevance * gradients[-1].relu().mean(1))[:, 0, 1:].view(2, 4, 4).detach()
    got = BTToken(model, n_steps=1, start_layer=0).attribute_patches(x, 1)
    assert relative(got, expected) <= 1e-10
