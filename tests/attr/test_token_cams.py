"""Grad-CAM++, HiResCAM and LayerCAM against their papers' formulas, entry by entry, on hooked tokens."""

import pytest
import torch
from open_attention import FIRST_NORMS, relative
from torch import Tensor, nn
from vit_zoo import ZOO, build, pixels

from xai.attention import find_layout
from xai.attr import TokenGradCAM, TokenHiResCAM, TokenLayerCAM, create
from xai.core import Margin

NAMES = ["token_grad_cam_plusplus", "token_hires_cam", "token_layer_cam"]


def hooked(model: nn.Module, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Patch tokens that enter a layer's attention and their gradient, (B, P, D)."""
    norms = [m for n, m in model.named_modules() if n.endswith(FIRST_NORMS)]
    kept: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda *io: kept.append(io[-1])) for m in norms]
    logits = model(x)
    for hook in hooks:
        hook.remove()
    norms = [k for k in kept if k.dim() == 3]
    (gradient,) = torch.autograd.grad((logits[:, 2] - logits[:, 0]).sum(), norms[layer])
    prefix = find_layout(model).prefix
    return norms[layer].detach()[:, prefix:], gradient[:, prefix:]


def plusplus(tokens: Tensor, gradient: Tensor) -> Tensor:
    """As printed: for the score exp(y) the derivatives of higher order are powers of the first."""
    images = []
    for t, g in zip(tokens, gradient, strict=True):
        channels = torch.zeros(len(t), dtype=t.dtype)
        for k in range(t.shape[1]):
            alpha = g[:, k] ** 2 / (2 * g[:, k] ** 2 + t[:, k].sum() * g[:, k] ** 3)
            channels += (alpha.nan_to_num(0) * g[:, k].relu()).sum() * t[:, k]
        images.append(channels.relu())
    return torch.stack(images)


def hires(tokens: Tensor, gradient: Tensor) -> Tensor:
    return torch.einsum("bpd,bpd->bp", tokens, gradient)


def layer_cam(tokens: Tensor, gradient: Tensor) -> Tensor:
    return torch.einsum("bpd,bpd->bp", tokens, torch.where(gradient > 0, gradient, 0)).relu()


FORMULAS = dict(zip(NAMES, (plusplus, hires, layer_cam), strict=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ZOO)
@pytest.mark.parametrize("layer", [-1, 2])
def test_equals_the_papers_formula(name: str, family: str, layer: int) -> None:
    model, x = build(family).double(), pixels().double()
    # the mean-pooled model's norm after the last block enters no attention that is read
    entry = 5 if layer == -1 and family != "siglip_pooling_head" else layer
    expected = FORMULAS[name](*hooked(model, x, entry))
    got = create(name, model, layer=layer).attribute_patches(x, Margin(2, 0)).flatten(1)
    assert relative(got, expected) <= 1e-9


def test_without_averaging_they_agree_where_all_gradients_are_the_same() -> None:
    """A linear read-out of the mean token: Grad-CAM is HiResCAM."""

    class Linear(nn.Module):
        patch_size = 8

        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 32, 8, 8)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            self.head = nn.Linear(32, 3)
            with torch.no_grad():  # every query sees all alike, so each token gets the same gradient
                self.attention.in_proj_weight[:64].zero_()

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))

    torch.manual_seed(0)
    model, x = Linear().eval(), pixels()
    hires_map = TokenHiResCAM(model).attribute_patches(x, 1)
    torch.testing.assert_close(hires_map, TokenGradCAM(model, relu=False).attribute_patches(x, 1))
    positive = TokenLayerCAM(model, relu=False).attribute_patches(x, 1)
    assert not torch.allclose(positive, hires_map)
