"""LeGrad against the formula written out on eager attention, and its way of finding blocks."""

import pytest
import torch
from sequence_first import SequenceFirst
from torch import Tensor, nn
from vit_zoo import CLASSES, HEADS, WIDTH, ZOO, Logits, build, pixels

from xai.attention import find_layout, probe
from xai.attention.diagnose import ExplicitAttention
from xai.attr import LeGrad
from xai.attr.transformer_blocks import find_blocks
from xai.core import Margin, ModelError, UsageError


def close(got: Tensor, expected: Tensor, relative: float = 1e-5) -> bool:
    return float((got - expected).abs().max()) <= relative * float(expected.abs().max())


def read_out(name: str, model: Logits, tokens: Tensor, pooling: str) -> Tensor:
    """Logits from one layer's tokens, by each family's own norm and head."""
    tokens = tokens.mean(1, keepdim=True).expand_as(tokens) if pooling == "mean" else tokens
    if name == "clip":
        return model.head(model.model.post_layernorm(tokens[:, 0]))
    if name == "vit":
        return model.model.classifier(model.model.vit.layernorm(tokens)[:, 0])
    if name == "dinov2":
        normed = model.model.dinov2.layernorm(tokens)
        return model.model.classifier(torch.cat([normed[:, 0], normed[:, 1:].mean(1)], dim=-1))
    assert name == "siglip"
    vision = model.model.vision_model
    return model.model.classifier(vision.post_layernorm(tokens).mean(1))


@pytest.mark.parametrize("name", ["clip", "vit", "dinov2", "siglip"])
@pytest.mark.parametrize("pooling", ["mean", "model"])
def test_equals_the_formula_on_eager_attention(name: str, pooling: str) -> None:
    x, target = pixels(), 1
    model = build(name)
    got = LeGrad(model, pooling=pooling).attribute_patches(x, target)
    few = LeGrad(model, [1, -1], pooling).attribute_patches(x, target)
    model.model.set_attn_implementation("eager")
    output = model.model(pixel_values=x, output_attentions=True, output_hidden_states=True)
    maps = []
    for attention, tokens in zip(output.attentions, output.hidden_states[1:], strict=True):
        score = read_out(name, model, tokens, pooling)[:, target].sum()
        (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
        maps.append(gradient.clamp(min=0).mean((1, 2)))
    grid = find_layout(build(name)).grid(32, 32)
    assert close(got, grid.to_patches(sum(maps)))
    assert close(few, grid.to_patches(maps[1] + maps[-1]))


def test_equals_the_formula_with_a_pooling_head() -> None:
    name, x = "siglip_pooling_head", pixels()
    model = build(name)
    tower = getattr(model.model, "vision_model", model.model)
    hidden = model.model(pixel_values=x, output_hidden_states=True).hidden_states[1:]
    expected = torch.zeros(2, 16)
    for tokens in hidden:
        with ExplicitAttention(16) as explicit:
            logits = model.head(tower.head(tower.post_layernorm(tokens.detach())))
        (attention,) = explicit.maps
        (gradient,) = torch.autograd.grad(logits[:, 2].sum(), attention)
        expected += gradient.clamp(min=0).mean((1, 2))
    got = LeGrad(model).attribute_patches(x, 2)
    assert close(got, expected.view(2, 4, 4))
    assert torch.equal(got, LeGrad(model, pooling="model").attribute_patches(x, 2))


@pytest.mark.parametrize("name", ZOO)
def test_blocks_are_found_in_every_family(name: str) -> None:
    model, x = build(name), pixels(1)
    seen = probe(model, x, (), find_layout(model).grid(32, 32))
    blocks = find_blocks(model, x, (), seen)
    kinds = {type(m).__name__ for m in blocks.modules}
    assert len(blocks.modules) == 6
    assert len(kinds) == 1
    assert "Layer" in kinds.pop()
    assert blocks.token_axis == 1
    assert LeGrad(model).attribute_patches(pixels(), 0).flatten(1).amax(1).min() > 0


@pytest.mark.parametrize("name", ["clip", "torch_encoder", "siglip_pooling_head"])
def test_the_last_layer_by_the_models_own_pooling_is_the_models_own_score(name: str) -> None:
    """y_L = y: the last layer's map is the plain gradient's."""
    model, x = build(name), pixels()
    grid = find_layout(model).grid(32, 32)
    with torch.enable_grad(), ExplicitAttention(grid.tokens) as explicit:
        y = model(x)[:, 1].sum()
    (gradient,) = torch.autograd.grad(y, explicit.maps[-1])
    expected = grid.to_patches(gradient.clamp(min=0).mean((1, 2)))
    assert close(LeGrad(model, "last_layer", "model").attribute_patches(x, 1), expected)


def test_targets_share_the_forward_pass_and_do_not_mix() -> None:
    model, x = build("clip"), pixels()
    attention, calls = model.model.encoder.layers[0].self_attn, []
    attention.register_forward_hook(lambda *_: calls.append(1))
    method = LeGrad(model)
    method.attribute_patches(x, 0)  # finds the blocks
    calls.clear()
    targets = [*range(CLASSES), Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 1
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target))


def test_sequence_first_blocks_that_return_tuples_under_no_grad() -> None:
    torch.manual_seed(0)
    model, x = SequenceFirst().eval(), pixels()
    got = LeGrad(model).attribute_patches(x, 1)
    tokens = model.embed(x).flatten(2).permute(2, 0, 1)
    tokens = torch.cat([model.class_token.expand(-1, 2, -1), tokens])
    expected = torch.zeros(2, 17)
    for block in model.blocks:
        with ExplicitAttention(17) as explicit:
            tokens, _ = block(tokens)
        y = model.head(nn.functional.normalize(tokens.mean(0), dim=-1))[:, 1].sum()
        (gradient,) = torch.autograd.grad(y, explicit.maps[0], retain_graph=True)
        expected += gradient.clamp(min=0).mean((1, 2))
    assert close(got, expected[:, 1:].view(2, 4, 4))


@pytest.mark.parametrize("fails", [False, True])
def test_blocks_are_as_before_also_when_a_read_out_fails(fails: bool) -> None:
    model, x = build("clip"), pixels()
    block, heads = model.model.encoder.layers[2], []
    block.forward = own = block.forward  # as some libraries do
    method = LeGrad(model)
    method.attribute_patches(x, 1)

    def head(*_: object) -> None:
        heads.append(vars(block)["forward"] is not own)
        if fails and len(heads) == 3:
            raise RuntimeError("no more")

    handle = model.head.register_forward_pre_hook(head)
    if fails:
        with pytest.raises(RuntimeError, match="no more"):
            method.attribute_patches(x, 1)
    else:
        method.attribute_patches(x, 1)
    handle.remove()
    assert heads == [False] + [True] * (2 if fails else 6)
    assert vars(block)["forward"] is own
    assert not any("forward" in vars(m) for m in model.modules() if m is not block)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_layers_outside_of_blocks_are_refused() -> None:
    """Attention and the rest of a layer side by side: replaying attention's output alone would be wrong."""

    class Scattered(SequenceFirst):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.MultiheadAttention(WIDTH, HEADS) for _ in range(3)])

        def forward(self, pixels: Tensor) -> Tensor:
            tokens = self.embed(pixels).flatten(2).permute(2, 0, 1)
            tokens = torch.cat([self.class_token.expand(-1, len(pixels), -1), tokens])
            for attention in self.blocks:
                tokens = tokens + attention(tokens, tokens, tokens)[0]
            return self.head(tokens[0])

    with pytest.raises(ModelError, match="blocks of their own"):
        LeGrad(Scattered().eval()).attribute_patches(pixels(), 1)


def test_unknown_pooling_is_told() -> None:
    with pytest.raises(UsageError, match="pooling='men'"):
        LeGrad(build("clip"), pooling="men")
