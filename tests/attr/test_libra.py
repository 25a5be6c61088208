"""LibraGrad's rules: every method that takes them against a transformer with the rules written by hand."""

from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from few_passes import OPTIONS
from torch import Tensor, nn
from unfolded_vit import LibraViT
from vit_zoo import WIDTH, ZOO, build, pixels

from xai.attr import CPLRP, GradientWeightedAttention, InputXGradient, attribute_many, create, libra_rules
from xai.core import ModelError, UsageError

TAKING = (
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "smoothgrad",
    "token_grad_cam",
    "token_hires_cam",
    "gradient_weighted_attention",
    "chefer",
    "token_transformation",
)
NO_GAMMA = {"gamma": 0.0, "gamma_attention": 0.0, "gamma_embedding": 0.0}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return build("vit").double()


@pytest.fixture(scope="module")
def by_hand(vit: nn.Module) -> nn.Module:
    return LibraViT(vit).eval()


def close(got: Tensor, expected: Tensor, relative: float = 1e-5) -> None:
    assert got.abs().max() > 0
    assert float((got - expected).abs().max()) <= relative * float(expected.abs().max())


@pytest.mark.parametrize("name", [n for n in TAKING if n != "token_transformation"])
def test_equals_the_rules_written_by_hand(name: str, vit: nn.Module, by_hand: nn.Module) -> None:
    x, options = pixels().double(), OPTIONS.get(name, {})
    torch.testing.assert_close(by_hand(x), vit(x))
    expected = create(name, by_hand, **options).attribute_patches(x, 1)
    got = create(name, vit, rules="libra", **options).attribute_patches(x, 1)
    close(got, expected)
    plain = create(name, vit, **options).attribute_patches(x, 1)
    assert float((got - plain).abs().max()) > 0.01 * float(plain.abs().max())


@pytest.mark.parametrize("name", ZOO)
def test_input_times_gradient_is_cp_lrp_without_gamma(name: str) -> None:
    model, x = build(name).double(), pixels().double()
    close(
        InputXGradient(model, rules="libra").attribute_patches(x, 1),
        CPLRP(model, **NO_GAMMA).attribute_patches(x, 1),
    )


@pytest.mark.parametrize("options", [{}, {"layers": "last_4_layers", "clamp": "heads"}, {"rows": "all"}])
def test_attention_is_recorded_under_the_rules(
    options: dict[str, Any], vit: nn.Module, by_hand: nn.Module
) -> None:
    """Also the layers below, whose gradients pass the rules of those above; and in one pass for many."""
    x = pixels().double()
    ruled = GradientWeightedAttention(vit, rules="libra", **options)
    plain = GradientWeightedAttention(vit, **options)
    found = attribute_many({"libra": ruled, "plain": plain}, x, [1, 2])
    close(found["libra"], GradientWeightedAttention(by_hand, **options).attribute_targets(x, [1, 2]))
    close(found["plain"], plain.attribute_targets(x, [1, 2]))
    close(found["libra"], ruled.attribute_targets(x, [1, 2]))
    assert not found["libra"].requires_grad


def test_a_method_of_captum_runs_in_the_context(vit: nn.Module, by_hand: nn.Module) -> None:
    x = pixels().double()
    expected = captum.attr.InputXGradient(by_hand).attribute(x.clone().requires_grad_(), target=1)
    with libra_rules(vit):
        got = captum.attr.InputXGradient(vit).attribute(x.clone().requires_grad_(), target=1)
    close(got, expected)


@pytest.mark.parametrize("name", TAKING)
@pytest.mark.parametrize("family", ["clip", "dinov2", "torch_encoder"])
def test_families(name: str, family: str) -> None:
    model = build(family)
    options = OPTIONS.get(name, {})
    got = create(name, model, rules="libra", **options).attribute_patches(pixels(), 1)
    assert torch.isfinite(got).all() and got.abs().max() > 0
    assert not torch.allclose(got, create(name, model, **options).attribute_patches(pixels(), 1))


class GatedMLP(nn.Module):
    """A product of two branches, and an L2 norm before the head."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = 8
        self.embed = nn.Conv2d(3, WIDTH, 8, 8)
        self.one, self.other = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + F.silu(self.one(tokens)) * self.other(tokens)
        return self.head(F.normalize(tokens.mean(1), dim=-1))


def test_gates_and_norms_share_as_the_paper_says() -> None:
    model, x = GatedMLP().double(), pixels().double().requires_grad_()
    tokens = model.embed(x).flatten(2).transpose(1, 2)
    gate, value = model.one(tokens), model.other(tokens)
    opened = gate * torch.sigmoid(gate.detach())
    tokens = tokens + 0.5 * (opened * value.detach() + opened.detach() * value)
    mean = tokens.mean(1)
    # half of the product's value is lost in this sum, which the norm would see
    mean = model_value(model, x) + mean - mean.detach()
    y = model.head(mean / mean.detach().norm(dim=-1, keepdim=True))[:, 1].sum()
    (gradient,) = torch.autograd.grad(y, x)
    expected = F.avg_pool2d((x * gradient).sum(1), 8) * 64
    close(InputXGradient(model, rules="libra").attribute_patches(x.detach(), 1), expected.detach())


def model_value(model: GatedMLP, x: Tensor) -> Tensor:
    with torch.no_grad():
        tokens = model.embed(x).flatten(2).transpose(1, 2)
        return (tokens + F.silu(model.one(tokens)) * model.other(tokens)).mean(1)


class Sorting(nn.Module):
    """An operation without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size, self.inner = 8, build("vit")

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).sort(-1).values


def test_a_model_on_which_the_rules_cannot_be_placed_is_refused() -> None:
    for name in ("input_x_gradient", "gradient_weighted_attention"):
        with pytest.raises(ModelError, match="'sort'.*no propagation rule"):
            create(name, Sorting(), rules="libra").check_needs(pixels(1))
        create(name, Sorting()).check_needs(pixels(1))


@pytest.mark.parametrize("outcome", ["success", "wrong target", "no rule"])
def test_the_model_is_as_before(outcome: str) -> None:
    model = Sorting() if outcome == "no rule" else build("clip")
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    flags = [p.requires_grad for p in model.parameters()]
    for name in ("integrated_gradients", "token_grad_cam", "gradient_weighted_attention"):
        method = create(name, model, rules="libra")
        try:
            method.attribute(pixels(), target=99 if outcome == "wrong target" else 1)
        except (ModelError, UsageError):
            assert outcome != "success"
        else:
            assert outcome == "success"
        assert all("forward" not in vars(module) for module in model.modules())
        assert {name: list(vars(module)) for name, module in model.named_modules()} == {
            name: list(own) for name, own in before.items()
        }
        assert flags == [p.requires_grad for p in model.parameters()]
        assert torch.overrides._get_current_function_mode_stack() == []


def test_a_wrapped_forward_is_put_back() -> None:
    model = build("clip")
    wrapped = model.forward
    model.forward = lambda *args: wrapped(*args)
    kept = model.forward
    with libra_rules(model):
        assert model.forward is not kept
        model(pixels())
    assert model.forward is kept


def test_no_delta_is_claimed() -> None:
    assert create("integrated_gradients", build("clip")).has_convergence_delta()
    assert not create("integrated_gradients", build("clip"), rules="libra").has_convergence_delta()


def test_unknown_rules_are_told() -> None:
    with pytest.raises(UsageError, match="rules='librx'"):
        create("saliency", build("clip"), rules="librx")
