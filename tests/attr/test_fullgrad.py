"""FullGrad+ against a transformer with the rules by hand, every bias a leaf of its own at every token."""

import pytest
import torch
from torch import Tensor, nn
from unfolded_vit import Block, LibraViT, Norm
from vit_zoo import LAYERS, WIDTH, build, pixels

from xai.attr import FullGradPlus
from xai.core import ModelError


class Biased(nn.Module):
    """A layer of the unfolded model, with its bias given to each token as a leaf."""

    def __init__(self, layer: nn.Module, kept: list[Tensor]):
        super().__init__()
        self.layer, self.kept = layer, kept

    def forward(self, x: Tensor) -> Tensor:
        bias = self.layer.bias.detach()
        leaf = bias.expand(*x.shape[:-1], len(bias)).clone().requires_grad_()
        self.kept.append(leaf)
        out = self.layer(x)
        return out - bias + leaf


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return build("vit").double()


def by_hand(model: nn.Module, x: Tensor, target: int, layers: list[int], biases: bool) -> Tensor:
    """Relevance of all tokens, (B, tokens), the head's bias left out."""
    unfolded, kept = LibraViT(model), []
    for parameter in unfolded.parameters():
        parameter.requires_grad_(False)
    for module in [m for m in unfolded.modules() if not isinstance(m, Biased)]:
        for name, child in module.named_children():
            inside = isinstance(module, Block) or any(module is b.attention for b in unfolded.blocks)
            if isinstance(child, Norm | nn.Linear) and (inside or name == "last"):
                setattr(module, name, Biased(child, kept))
    tokens, entering = unfolded.embeddings(x), []
    for block in unfolded.blocks:
        tokens = tokens.clone().requires_grad_() if not entering else tokens
        entering.append(tokens)
        tokens = block(tokens)
    y = unfolded.head(unfolded.last(tokens)[:, 0])[:, target].sum()
    leaves = [entering[i] for i in layers] + (kept if biases else [])
    gradients = torch.autograd.grad(y, leaves, materialize_grads=True)
    for parameter in unfolded.parameters():
        parameter.requires_grad_(True)
    return sum((leaf * g).sum(-1).detach() for leaf, g in zip(leaves, gradients, strict=True))


@pytest.mark.parametrize(("layers", "biases"), [("all_layers", True), ([0], True), ([2, 4], False)])
def test_equals_sums_over_leaves(vit: nn.Module, layers: str | list[int], biases: bool) -> None:
    x = pixels().double()
    chosen = list(range(LAYERS)) if layers == "all_layers" else layers
    expected = by_hand(vit, x, 1, chosen, biases)[:, 1:].unflatten(-1, (4, 4))
    got = FullGradPlus(vit, layers=layers, biases=biases).attribute_patches(x, 1)
    assert float((got - expected).abs().max()) <= 1e-6 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vit", lambda m: m.model.classifier.bias),
        ("clip", lambda m: m.head.bias),  # the class token's norm comes after it was taken: see below
        ("dinov2_registers", lambda m: m.model.classifier.bias),
        ("siglip", lambda m: m.model.classifier.bias),
        ("beit", lambda m: m.model.classifier.bias),
        ("torch_encoder", lambda m: m.head.bias),
    ],
)
def test_fullgrad_of_all_tokens_sums_to_the_score(name: str, head: object) -> None:
    model, x = build(name).double(), pixels(3).double()
    of_no_token = head(model)[2]
    if name == "clip":  # gives one token to its last norm, whose bias is no token's
        norm = model.model.vision_model.post_layernorm if hasattr(model.model, "vision_model") else None
        norm = model.model.post_layernorm if norm is None else norm
        of_no_token = of_no_token + model.head.weight[2] @ norm.bias
    if name == "beit":  # pools before its last norm
        pooled = model.model.beit.pooler.layernorm
        of_no_token = of_no_token + model.model.classifier.weight[2] @ pooled.bias
    tokens = FullGradPlus(model, layers=0)._tokens(x, [2], ())[0]
    torch.testing.assert_close(
        tokens.sum(1).detach(), (model(x)[:, 2] - of_no_token).detach(), rtol=1e-5, atol=1e-5
    )


class WithConvolution(nn.Module):
    """A block that mixes neighbours by a convolution with a bias."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block, self.mix = block, nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, tokens: Tensor, *args: object, **kwargs: object) -> Tensor:
        tokens = self.block(tokens, *args, **kwargs)
        return tokens + self.mix(tokens.transpose(1, 2)).transpose(1, 2)


def test_a_bias_that_no_token_can_be_given_is_refused() -> None:
    model = build("vit")
    model.model.vit.layers[2] = WithConvolution(model.model.vit.layers[2])
    with pytest.raises(ModelError, match="convolution with a bias"):
        FullGradPlus(model).check_needs(pixels(1))
    assert FullGradPlus(model, biases=False).attribute_patches(pixels(), 1).abs().max() > 0
    assert not any(m._forward_pre_hooks for m in model.modules())
