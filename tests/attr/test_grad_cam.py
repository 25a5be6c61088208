"""Token Grad-CAM against hooks on the named norm before the last attention, and on layouts without one."""

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import HEADS, LAYERS, PATCH, WIDTH, PlainViT, build, pixels

from xai.attention import find_layout
from xai.attr import TokenGradCAM
from xai.core import Margin, ModelError, UsageError

# what comes out of this module enters the attention of layer i
ENTRY = {
    "clip": "model.encoder.layers.{}.layer_norm1",
    "clip_mean_pooled": "model.vision_model.encoder.layers.{}.layer_norm1",
    "vit": "model.vit.layers.{}.layernorm_before",
    "deit": "model.deit.layers.{}.layernorm_before",
    "dinov2": "model.dinov2.encoder.layer.{}.norm1",
    "dinov2_registers": "model.dinov2_with_registers.encoder.layer.{}.norm1",
    "dinov3": "model.model.layer.{}.norm1",
    "siglip": "model.vision_model.encoder.layers.{}.layer_norm1",
    "siglip_pooling_head": "model.post_layernorm",
    "beit": "model.beit.layers.{}.layernorm_before",
    "torch_encoder": "encoder.layers.{}.norm1",
}


def expected(model: nn.Module, x: Tensor, module: str, prefix: int, score) -> Tensor:
    """Grad-CAM as written in the paper, before the ReLU: (B, patches)."""
    kept = []
    hook = model.get_submodule(module).register_forward_hook(lambda *io: kept.append(io[-1]))
    try:
        y = score(model(x.clone().requires_grad_())).sum()
    finally:
        hook.remove()
    (gradient,) = torch.autograd.grad(y, kept[0])
    tokens, gradient = kept[0].detach()[:, prefix:], gradient[:, prefix:]
    channels = []
    for k in range(tokens.shape[-1]):
        weight = gradient[..., k].mean(1)
        channels.append(weight[:, None] * tokens[..., k])
    return torch.stack(channels).sum(0)


@pytest.mark.parametrize("name", ENTRY)
def test_equals_a_hook_on_the_norm_before_the_last_attention(name: str) -> None:
    model, x = build(name), pixels()
    prefix = find_layout(model).prefix
    signed = expected(model, x, ENTRY[name].format(LAYERS - 1), prefix, lambda z: z[:, 2] - z[:, 0])
    got = TokenGradCAM(model).attribute_patches(x, Margin(2, 0))
    torch.testing.assert_close(got.flatten(1), signed.relu(), rtol=1e-4, atol=1e-6)
    assert (got > 0).any(dim=2).any(dim=1).any()


@pytest.mark.parametrize("layer", [0, 2, -2, "last_layer"])
def test_any_layer(layer: int | str) -> None:
    model, x = build("vit"), pixels()
    signed = expected(
        model, x, ENTRY["vit"].format(5 if layer == "last_layer" else layer % LAYERS), 1, lambda z: z[:, 1]
    )
    got = TokenGradCAM(model, layer=layer, relu=False).attribute_patches(x, 1)
    torch.testing.assert_close(got.flatten(1), signed, rtol=1e-4, atol=1e-6)
    assert (got < 0).any()


def test_several_targets_share_a_forward_pass() -> None:
    model, x = build("clip"), pixels()
    method = TokenGradCAM(model)
    singles = torch.stack([method.attribute_patches(x, t) for t in (0, 1, 2)])
    passes = []
    hook = model.register_forward_pre_hook(lambda *_: passes.append(1))
    together = method.attribute_targets(x, [0, 1, 2])
    hook.remove()
    assert len(passes) == 1
    torch.testing.assert_close(together, singles)


def test_a_backbone_under_no_grad_gives_the_same_map() -> None:
    class Frozen(nn.Module):
        patch_size = PATCH

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                hidden = self.model.model(pixel_values=x).pooler_output
            return self.model.head(hidden)

    model, x = build("clip"), pixels()
    torch.testing.assert_close(
        TokenGradCAM(Frozen(model)).attribute_patches(x, 1), TokenGradCAM(model).attribute_patches(x, 1)
    )


class Block(nn.Module):
    """Sequence-first attention, as in older CLIP code."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return x + self.attention(normed, normed, normed, need_weights=False)[0]


class Shared(PlainViT):
    """One sequence-first block, run three times."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.seen = Block(), []

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv_proj(x).flatten(2).permute(2, 0, 1)
        tokens = torch.cat([self.class_token.expand(-1, len(x), -1), tokens])
        for _ in range(3):
            tokens = self.encoder(tokens)
        return self.head(tokens[0])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_sequence_first_attention_and_shared_blocks(layer: int) -> None:
    """17 images: as many as tokens, so shapes alone do not tell which axis is which."""
    torch.manual_seed(0)
    model, x = Shared().eval(), pixels(17)
    kept: list[Tensor] = []
    hook = model.encoder.norm.register_forward_hook(lambda *io: kept.append(io[-1]))
    y = model(x.clone().requires_grad_())[:, 1].sum()
    hook.remove()
    (gradient,) = torch.autograd.grad(y, kept[layer])
    signed = (kept[layer] * gradient[1:].mean(0)).sum(-1)[1:].T
    got = TokenGradCAM(model, layer=layer, relu=False).attribute_patches(x, 1)
    torch.testing.assert_close(got.flatten(1), signed.detach(), rtol=1e-4, atol=1e-6)


def test_attention_without_a_module_of_its_own_is_told() -> None:
    class Bare(nn.Module):
        patch_size = PATCH

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).transpose(1, 2)[:, None]
            return self.head(nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)[:, 0].mean(1))

    model = Bare()
    with pytest.raises(ModelError, match="No module of Bare"):
        TokenGradCAM(model).attribute_patches(pixels(), 1)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_failing_pass_leaves_no_hook() -> None:
    model, x = build("clip"), pixels()
    method = TokenGradCAM(model)
    method.attribute_patches(x, 1)
    with pytest.raises(TypeError):
        method.attribute_patches(x, 1, "not a tensor")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("layer", [LAYERS, -LAYERS - 1, "all_layers", "last", [1, 2]])
def test_wrong_layers_are_told(layer: object) -> None:
    with pytest.raises(UsageError):
        TokenGradCAM(build("clip"), layer=layer).attribute_patches(pixels(), 1)
