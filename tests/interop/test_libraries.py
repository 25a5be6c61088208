"""The recorder and gradient-weighted attention on timm, open_clip and torchvision models.

Two oracles: attention computed in the open for every model, and for timm its own unfused attention. Run by
`make test-interop` in an environment of its own; the libraries need torchvision, which needs another torch.
"""

from copy import deepcopy
from functools import cache

import pytest
import torch
from few_passes import OPTIONS
from torch import Tensor, nn

from xai.attention import diagnose, find_layout, grid_of, last_token_norms, probe
from xai.attention.diagnose import explicit_attention
from xai.attr import CPLRP, METHODS, FullGradPlus, GradientWeightedAttention, create
from xai.core import ModelError

pytestmark = pytest.mark.interop

WHERE = "runs in an environment of its own: make test-interop"
torchvision = pytest.importorskip("torchvision", reason=WHERE)
timm = pytest.importorskip("timm", reason=WHERE)
open_clip = pytest.importorskip("open_clip", reason=WHERE)

SIDE = 112  # every patch is an occasion to run the model without it: as few as 7 × 7 or 8 × 8
SMALL = {"num_classes": 3, "embed_dim": 48, "depth": 5, "num_heads": 4, "img_size": SIDE}


def _timm(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, pretrained=False, **{**SMALL, **options})


def _torchvision() -> nn.Module:
    return torchvision.models.VisionTransformer(SIDE, 16, 5, 4, hidden_dim=48, mlp_dim=192, num_classes=3)


class ImageTower(nn.Module):
    """open_clip's image tower, as ViT-B-16 has it but narrow, with a linear head on its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = open_clip.transformer.VisionTransformer(
            SIDE, 16, width=48, layers=5, heads=4, mlp_ratio=4.0, output_dim=32
        )
        self.head = nn.Linear(32, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.tower(pixels))


MODELS = {
    "timm ViT": lambda: _timm("vit_base_patch16_224"),
    "timm CLIP ViT": lambda: _timm("vit_base_patch16_clip_224"),
    "timm DINOv2 with 4 registers": lambda: _timm("vit_small_patch14_reg4_dinov2"),
    "timm EVA-02": lambda: _timm("eva02_tiny_patch14_224"),
    "timm SigLIP": lambda: _timm("vit_base_patch16_siglip_224"),
    "timm BEiT": lambda: _timm("beit_base_patch16_224"),
    "open_clip ViT-B-16": ImageTower,
    "torchvision vit_b_16": _torchvision,
}
READOUT = {
    "timm EVA-02": "mean over patches",
    "timm BEiT": "mean over patches",
    "timm SigLIP": "pooling head",
}


@cache
def build(name: str) -> nn.Module:
    """One model for all tests: who changes it takes a copy."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    heads = (
        parameter for key, parameter in model.named_parameters() if key.rsplit(".", 1)[0].endswith("head")
    )
    with torch.no_grad():  # torchvision and BEiT start with a head of zeros or nearly so
        for parameter in heads:
            nn.init.normal_(parameter, std=0.2)
    if name.startswith("torchvision"):
        nn.init.normal_(model.heads.head.weight, std=0.2)
    return model


def pixels() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", MODELS)
def test_recorded_attention_equals_attention_in_the_open(name: str) -> None:
    seen = diagnose(build(name), pixels())
    assert seen.probe.readout == READOUT.get(name, "class token")
    assert seen.attention_error < 1e-5
    assert seen.gradient_error < 1e-5
    assert seen.logit_error < 1e-5


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("clamp", ["fused", "heads", None])
def test_gradient_weighted_attention_equals_its_definition(name: str, clamp: str | None) -> None:
    model, x = build(name), pixels()
    grid = find_layout(model).grid(SIDE, SIDE)
    seen = probe(model, x[:1], (), grid)
    maps, gradients = explicit_attention(model, x, (), grid.tokens, lambda logits: logits[:, 1].sum())
    products = [a * g for a, g in zip(maps, gradients, strict=True)][: seen.layers]
    products = [p.clamp(min=0) for p in products] if clamp == "heads" else products
    rows = [p[:, :, seen.rows_of(i)].mean(2).mean(1) for i, p in enumerate(products)][-4:]
    expected = torch.stack(rows).mean(0)
    expected = grid.to_patches(expected.clamp(min=0) if clamp == "fused" else expected)
    got = GradientWeightedAttention(model, "last_4_layers", clamp=clamp).attribute_patches(x, 1)
    scale = max(float(p.abs().max()) for p in products[-4:])
    assert float((got - expected).abs().max()) <= 1e-5 * scale
    assert got.abs().max() > 0


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("timm") and n != "timm SigLIP"])
def test_recorded_attention_equals_timms_unfused_attention(name: str) -> None:
    """Independent of ours: timm's own softmax, read where it enters the dropout that follows it."""
    model, x = build(name), pixels()
    unfused = deepcopy(model)
    maps: list[Tensor] = []
    for module in unfused.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
            module.attn_drop.register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0]))
    unfused.requires_grad_(True)
    gradients = torch.autograd.grad(unfused(x)[:, 2].sum(), maps)
    grid = find_layout(model).grid(SIDE, SIDE)
    seen = probe(model, x[:1], (), grid)
    assert len(maps) == seen.layers
    product = (maps[-1] * gradients[-1]).detach()
    expected = grid.to_patches(product[:, :, list(seen.rows)].mean(2))
    got = GradientWeightedAttention(model, "last_layer").attribute_layers(x, 2)[:, 0]
    assert float((got - expected).abs().max()) <= 1e-5 * float(product.abs().max())


# no token would remain with all patches masked, or the classifier would still read the masked ones
REFUSED = {
    "integrated_mask_gradient": {"timm SigLIP"},
    "tis": {"timm EVA-02", "timm SigLIP", "timm BEiT"},
}
FEWER = OPTIONS | {"occlusion": {"window": 5}, "metric_driven_attribution": {"width": 1}}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_every_method_runs(name: str, method: str) -> None:
    chosen = create(method, build(name), **FEWER.get(method, {}))
    if name in REFUSED.get(method, ()):
        with pytest.raises(ModelError, match="masked"):
            chosen.attribute(pixels()[:1], target=1)
        return
    got = chosen.attribute(pixels()[:1], target=1)
    assert got.shape == (1, 3, SIDE, SIDE)
    assert torch.isfinite(got).all()


def close(got: Tensor, expected: Tensor, relative: float) -> bool:
    assert expected.abs().max() > 0
    return float((got - expected).abs().max()) <= relative * float(expected.abs().max())


@pytest.mark.parametrize("name", MODELS)
def test_input_times_gradient_is_cp_lrp_without_gamma(name: str) -> None:
    model, x = build(name), pixels()[:1]
    expected = CPLRP(model, gamma=0.0, gamma_attention=0.0, gamma_embedding=0.0).attribute_patches(x, 1)
    got = create("input_x_gradient", model, rules="libra").attribute_patches(x, 1)
    assert close(got, expected, 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_attention_is_recorded_under_the_rules(name: str) -> None:
    model, x = build(name), pixels()[:1]
    for method in ("gradient_weighted_attention", "token_grad_cam", "chefer"):
        ruled = create(method, model, rules="libra").attribute_patches(x, 1)
        assert torch.isfinite(ruled).all() and ruled.abs().max() > 0


@pytest.mark.parametrize("name", [n for n in MODELS if n.startswith("timm")])
def test_fullgrad_of_all_tokens_sums_to_the_score(name: str) -> None:
    """But for biases behind the read-out, which are set to zero here."""
    model, x = deepcopy(build(name)), pixels()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias") and ("head" in key or "fc_norm" in key or "attn_pool" in key):
                parameter.zero_()
    tokens = FullGradPlus(model, layers=0)._tokens(x, [1], ())[0].detach()
    torch.testing.assert_close(tokens.sum(1), model(x)[:, 1].detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_lengths_of_tokens_are_seen(name: str) -> None:
    model, x = build(name), pixels()
    grid = grid_of(model, x)
    with torch.no_grad(), last_token_norms(model, grid, 2) as norms:
        logits = model(x)
    assert norms[0].shape == (2, grid.rows, grid.cols) and (norms[0] > 0).all()
    with torch.no_grad():
        assert torch.equal(logits, model(x))
