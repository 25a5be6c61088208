"""The last layer of timm, open_clip and torchvision models for the read-out only: equal logits and maps."""

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from xai.attention import ReadoutLayer, grid_of, mask_patches, readout_layer, readout_only
from xai.attr import MaskGradient
from xai.perturb import Request, States, Stream, make_operator

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
torchvision = pytest.importorskip("torchvision", reason=WHERE)
timm = pytest.importorskip("timm", reason=WHERE)
open_clip = pytest.importorskip("open_clip", reason=WHERE)


class ImageTower(nn.Module):
    """open_clip's image tower with a linear head on its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = open_clip.create_model("ViT-S-32-alt", pretrained=None).visual
        self.head = nn.LazyLinear(3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.tower(pixels))


def _timm(name: str, **options: object) -> nn.Module:
    small = {"num_classes": 3, "embed_dim": 48, "depth": 4, "num_heads": 4, "pretrained": False}
    return timm.create_model(name, **{**small, **options})


SHORT: dict[str, tuple[Callable[[], nn.Module], str, int]] = {  # how it is made, its last block, rows
    "timm ViT": (lambda: _timm("vit_base_patch16_224"), "blocks.3", 1),
    "timm DINOv2, registers": (
        lambda: _timm("vit_small_patch14_reg4_dinov2", img_size=224, global_pool="token"), "blocks.3", 1
    ),
    "timm DINOv3, rotary": (
        lambda: _timm("vit_small_patch16_dinov3", img_size=224, global_pool="token"), "blocks.3", 1
    ),
    "timm EVA-02, rotary": (lambda: _timm("eva02_tiny_patch14_224", global_pool="token"), "blocks.3", 1),
    "timm BEiT, bias": (lambda: _timm("beit_base_patch16_224", global_pool="token"), "blocks.3", 1),
    "timm DeiT, distilled": (lambda: _timm("deit_small_distilled_patch16_224"), "blocks.3", 2),
    "open_clip": (ImageTower, "tower.transformer.resblocks.11", 1),
    "torchvision": (
        lambda: torchvision.models.VisionTransformer(224, 32, 3, 4, 48, 96, num_classes=3),
        "encoder.layers.encoder_layer_2",
        1,
    ),
}  # fmt: skip
WHOLE = {
    "timm EVA-02": lambda: _timm("eva02_tiny_patch14_224"),
    "timm SigLIP": lambda: _timm("vit_base_patch16_siglip_224"),
    "timm ViT, mean": lambda: _timm("vit_base_patch16_224", global_pool="avg"),
}


def made(make: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = make().eval()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    model(x[:1])
    for name, parameter in model.named_parameters():
        if "head" in name:
            nn.init.normal_(parameter, std=0.2)
    return model, x


def apart(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", SHORT)
def test_the_same_logits_curves_and_maps(name: str) -> None:
    make, block, rows = SHORT[name]
    model, x = made(make)
    layer, grid = readout_layer(model, x), grid_of(model, x)
    assert (layer.block, layer.rows) == (block, rows)
    presence = torch.rand(2, grid.patches, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = model(x)
        with readout_only(model, layer):
            assert apart(model(x), whole) < 1e-5
        with mask_patches(model, presence, grid):
            whole = model(x)
            with readout_only(model, layer):
                assert apart(model(x), whole) < 1e-5
    rank = torch.arange(grid.patches, dtype=torch.int32).view(1, grid.rows, grid.cols)
    high = torch.tensor([0, 7, grid.patches // 2, grid.patches], dtype=torch.int32)
    states = States(rank, torch.tensor([1]), torch.zeros(4, dtype=torch.long), torch.zeros_like(high), high)
    requests = [Request(make_operator(operator), states) for operator in ("token", "mean")]

    def answers() -> list[Tensor]:
        curves = Stream(model).evaluate(x, torch.tensor([0, 1]), requests)
        return [*curves, MaskGradient(model).attribute_targets(x, [0, 2])]

    short = answers()
    off = lambda *_: ReadoutLayer(None)  # noqa: E731
    with mock.patch("xai.attr.base.readout_layer", off), mock.patch("xai.perturb.stream.readout_layer", off):
        whole = answers()
    assert max(map(apart, short, whole)) < 1e-5


@pytest.mark.parametrize("name", WHOLE)
def test_models_that_read_more_are_left_whole(name: str) -> None:
    model, x = made(WHOLE[name])
    layer = readout_layer(model, x)
    assert layer.block is None
    assert "reads more than leading tokens" in layer.reason
