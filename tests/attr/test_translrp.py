"""Transformer attribution against relevance shared out contribution by contribution, and full matrices."""

import pytest
import torch
from lrp_oracle import Rules, read_out
from torch import Tensor, nn
from vit_zoo import ZOO, build, pixels

import xai
from xai.attention import find_layout
from xai.attention.diagnose import explicit_attention
from xai.attr import Chefer, TransLRP
from xai.attr.lrp_positive import RelevanceRules, divide
from xai.attr.lrp_rules import followed
from xai.core import Margin, ModelError

MODELS = {
    "vit": ("vit", "cls", lambda m: (m.model.vit, m.model.classifier)),
    "clip": ("clip", "cls", lambda m: (m.model, m.head)),
    "clip_mean_pooled": ("clip", "mean", lambda m: (m.model.vision_model, m.model.classifier)),
}


def by_definition(relevance: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """`Ā_L ⋯ Ā_1` with `Ā = I + E_h (∂A ⊙ R_A)⁺`, in double precision."""
    tokens = relevance[0].shape[-1]
    rolled = torch.eye(tokens, dtype=torch.float64)
    for r, g in zip(relevance, gradients, strict=True):
        rolled = (torch.eye(tokens, dtype=torch.float64) + (r * g).clamp(min=0).mean(0)) @ rolled
    return rolled


@pytest.mark.parametrize("name", MODELS)
def test_equals_explicit_propagation(name: str) -> None:
    style, pooled, parts = MODELS[name]
    model, x = build(name), pixels()
    tower, head = parts(model)
    runs = [read_out(tower, head, style, pooled, image, 1, Rules(positive=True))[0] for image in x]
    model.double()
    grid = find_layout(model).grid(32, 32)
    _, gradients = explicit_attention(model, x.double(), (), grid.tokens, lambda y: y[:, 1].sum())
    rows = [0] if pooled == "cls" else list(range(1, grid.tokens))
    expected = torch.stack(
        [
            by_definition(run.of_attention, [g[i] for g in gradients])[rows].mean(0)
            for i, run in enumerate(runs)
        ]
    )
    got = TransLRP(model).attribute_patches(x.double(), 1)
    # stable to the 1e-9 at which denominators are stabilised, in a method that divides by small numbers
    torch.testing.assert_close(got, grid.to_patches(expected).detach(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", ["clip", "dinov2", "beit", "torch_encoder"])
def test_relevance_of_an_image_is_kept(name: str) -> None:
    """Every rule hands on all it gets, so each layer above the attention of layer 0 holds 1 in total."""
    model, x = build(name).double(), pixels().double()
    seen: list[Tensor] = []

    class Watched(RelevanceRules):
        def add(self, func: object, a: Tensor, b: Tensor) -> Tensor:
            out = super().add(func, a, b)
            seen.append(out)
            return out

    rules = Watched(2, find_layout(model).grid(32, 32).tokens)
    with followed(model), rules:
        logits = model(x.requires_grad_())
    start = torch.zeros_like(logits)
    start[:, 1] = 1
    sums = [r.flatten(1).sum(1) for r in torch.autograd.grad(logits, seen, start)]
    for total in sums:
        torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-4, atol=1e-4)


def test_halves_and_whole_of_an_attention_layer() -> None:
    """Relevance to V, and to A through `½ A ⊙ (R_O / O) Vᵀ`, are half of R_O each."""
    generator = torch.Generator().manual_seed(0)
    q, k, v, r = (torch.randn(1, 2, 5, 4, dtype=torch.float64, generator=generator) for _ in range(4))
    q, k, v = (t.requires_grad_() for t in (q, k, v))
    rules = RelevanceRules(1, 5)
    with rules:
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    of_q, of_k, of_v = torch.autograd.grad(out, (q, k, v), r)
    torch.testing.assert_close(of_v.sum(), r.sum() / 2)
    torch.testing.assert_close(of_q.sum(), r.sum() / 4)
    torch.testing.assert_close(of_k.sum(), r.sum() / 4)
    attention = (q @ k.transpose(-2, -1) / 2).softmax(-1)
    of_attention = attention * (divide(r, out.detach()) @ v.transpose(-2, -1)) / 2
    torch.testing.assert_close(of_attention.sum().detach(), r.sum() / 2)


def test_chunks_of_rows_do_not_change_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build("clip").double(), pixels().double()
    whole = TransLRP(model).attribute_patches(x, 1)

    def few(call, rows, copies=1):
        chosen = list(range(call.query.shape[-2])[rows] if isinstance(rows, slice) else rows)
        return [chosen[i : i + 5] for i in range(0, len(chosen), 5)]

    for module in ("chefer", "lrp_positive"):
        monkeypatch.setattr(f"xai.attr.{module}.row_chunks", few)
    torch.testing.assert_close(TransLRP(model).attribute_patches(x, 1), whole)


def test_targets_share_two_forward_passes_and_do_not_mix() -> None:
    model, x, calls = build("vit").double(), pixels().double(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    method = TransLRP(model)
    method.attribute_patches(x, 0)  # finds the layout
    calls.clear()
    targets = [0, 1, Margin(1)]
    together = method.attribute_targets(x, targets)
    assert len(calls) == 2
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method.attribute_patches(x, target))


@pytest.mark.parametrize("name", ZOO)
def test_no_map_is_blank_and_none_is_chefers(name: str) -> None:
    model, x = build(name), pixels()
    got = TransLRP(model).attribute_patches(x, 0)
    assert got.flatten(1).amax(1).min() > 0
    assert not torch.allclose(got, Chefer(model).attribute_patches(x, 0))


def test_an_operation_without_a_rule_is_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build("clip")
            self.config = self.inner.model.config

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).sort(-1).values

    with pytest.raises(ModelError, match="sort"):
        TransLRP(Odd()).attribute(pixels(), target=1)
    assert torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_pixels_of_another_type_than_the_weights(dtype: torch.dtype) -> None:
    """A classifier casts them, which is no step of the rules."""
    classifier = xai.load(build("clip"), labels=["a", "b", "c"], grid=(4, 4))
    x = pixels().half()
    got = TransLRP(classifier).attribute_patches(x.to(dtype), 1)
    expected = TransLRP(classifier).attribute_patches(x.float(), 1)
    torch.testing.assert_close(got.float(), expected, rtol=1e-2, atol=1e-6)
