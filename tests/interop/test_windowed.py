"""Gradient-weighted attention of windowed models of timm and torchvision."""

import pytest
import torch
from torch import Tensor, nn
from windowed import GRID, LABELS, given, randomised, to_regions

import xai
from xai.attention import UnseenAttentionError, map_attention
from xai.attr import GradientWeightedAttention
from xai.core import PatchGrid

WHERE = "runs in an environment of its own: make test-interop"
timm = pytest.importorskip("timm", reason=WHERE)
torchvision = pytest.importorskip("torchvision", reason=WHERE)
pytestmark = pytest.mark.interop

SWIN = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 3}


def made(name: str, **options: object) -> nn.Module:
    return randomised(timm.create_model(name, pretrained=False, num_classes=2, **options))


def partition(block: nn.Module, size: int, channels: int) -> Tensor:
    """(windows, tokens) index of the stage's token as the block partitions it, −1 for padding."""
    seen: list[Tensor] = []
    index = torch.arange(1.0, size * size + 1).view(1, size, size, 1).expand(-1, -1, -1, channels)
    hook = block.attn.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    norm, block.norm1 = block.norm1, nn.Identity()
    block(index)
    block.norm1 = norm
    hook.remove()
    return seen[0][..., 0].round().long() - 1


def test_equals_autograd_through_timms_own_unfused_attention() -> None:
    x = given((56, 56))  # 14 and 7 tokens in windows of 3: shifted and padded
    model = made("swin_tiny_patch4_window7_224", img_size=56, **SWIN)
    blocks = [block for layer in model.layers for block in layer.blocks]
    maps: list[Tensor] = []
    for block in blocks:
        block.attn.fused_attn = False
    hooks = [b.attn.attn_drop.register_forward_hook(lambda m, args, out: maps.append(out)) for b in blocks]
    logits = model(x)
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(logits[:, 1].sum(), maps)
    expected = []
    for i, (block, attention, gradient) in enumerate(zip(blocks, maps, gradients, strict=True)):
        size, channels, cell = (14, 16, 4) if i < 2 else (7, 32, 8)
        index = partition(block, size, channels).flatten()
        rows = (attention.detach() * gradient).double().mean(1).sum(1).view(2, -1)
        tokens = torch.zeros(2, size * size, dtype=torch.float64)
        tokens.index_add_(1, index[index >= 0], rows[:, index >= 0])
        expected.append(to_regions(tokens / size**2, size, size, cell, (56, 56)))
    for fused in (True, False):
        for block in blocks:
            block.attn.fused_attn = fused
        got = GradientWeightedAttention(xai.load(model, LABELS, grid=GRID)).attribute_patches(x, 1).double()
        worst = max(float(one.abs().max()) for one in expected)
        assert float((got.flatten(1) - torch.stack(expected).mean(0)).abs().max()) <= 1e-5 * worst


@pytest.mark.parametrize(
    ("name", "options", "layers", "others"),
    [
        ("swin_s3_tiny_224", {"embed_dim": 32, "depths": (2, 2, 2, 2)}, 8, 0),
        ("pvt_v2_b0", {}, 8, 0),
        ("pit_ti_224", {}, 12, 0),
        ("davit_tiny", {"depths": (1, 1, 1, 1)}, 4, 4),
        ("cait_xxs24_224", {"depth": 2}, 4, 0),
    ],
)
def test_layers_are_placed(name, options, layers, others) -> None:
    probed = map_attention(made(name, **options), torch.zeros(1, 3, 224, 224), (), PatchGrid(14, 14))
    assert (probed.layers, probed.others) == (layers, others)
    for layer in probed.of_layers:
        shares = torch.zeros(int(layer.placement.slots.max()) + 1)
        shares.index_add_(0, layer.placement.slots, layer.placement.shares)
        torch.testing.assert_close(shares[layer.placement.placed], torch.ones(len(layer.placement.placed)))
        assert len(layer.placement.regions.unique()) == 196  # every region has a share of a key


def test_torchvisions_swin_is_explained() -> None:
    model = randomised(
        torchvision.models.swin_transformer.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [3, 3], num_classes=2)
    )
    maps = GradientWeightedAttention(xai.load(model, LABELS, grid=GRID)).attribute_patches(given((56, 56)), 1)
    assert torch.isfinite(maps).all() and float(maps.abs().max()) > 0


def test_attention_mostly_over_channels_is_refused() -> None:
    model = made("xcit_nano_12_p16_224", depth=3)
    with pytest.raises(UnseenAttentionError, match="attention layers"):
        map_attention(model, torch.zeros(1, 3, 224, 224), (), PatchGrid(14, 14))
