"""One map for one computation, whatever way its operations are called; what cannot be honoured is refused."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import get_testing_overrides
from vit_zoo import WIDTH, pixels

from xai.attention import intercept
from xai.attr import AttnLRP, find_capabilities
from xai.attr.lrp_calls import RULES
from xai.attr.lrp_gradient import _NORMS
from xai.attr.lrp_positive import RelevanceRules
from xai.attr.lrp_rules import followed
from xai.core import ModelError

attention = F.scaled_dot_product_attention
GAMMAS = {"gamma": 0.3, "gamma_attention": 0.1, "gamma_embedding": 0.5}


def of_torch(name: str) -> set[str]:
    """Every parameter that torch gives this operation, as function, method or operator."""
    found: set[str] = set()
    for schema in torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        first = schema.arguments[0] if schema.arguments else None
        if first is not None and "Tensor" in str(first.type) and not str(first.type).startswith("List"):
            found |= {argument.name for argument in schema.arguments}
    for place in (F, torch, torch.Tensor):
        func = getattr(place, name, None)
        if func is None:
            continue
        found |= set(inspect.signature(func).parameters) if inspect.isfunction(func) else set()
        stand_in = get_testing_overrides().get(func)
        if not found and stand_in is not None:  # written by hand, so less exact than a schema
            found |= set(inspect.signature(stand_in).parameters)
    return found - {"self", "input", "args", "kwargs"}


# rules that do not hand the call on to torch know every parameter; `arranged` takes out and rounding_mode
KNOWN = {
    "sum_of": {"other", "alpha"},
    "product": {
        *("other", "mat2", "vec", "tensor2", "out_dtype", "rounding_mode"),
        *("equation", "operands", "tensors", "path", "a"),
    },
    "dropout": {"p", "training", "train", "inplace"},
    "detached": set(),
    "negative": set(),
}
ARRANGED = {"out"}


@pytest.mark.parametrize("name", [n for n, kind in RULES.items() if kind in {*KNOWN, "norm"}])
def test_every_parameter_of_torch_is_known(name: str) -> None:
    known = KNOWN.get(RULES[name], set()) | ARRANGED
    if name in _NORMS:
        known |= set(inspect.signature(_NORMS[name]).parameters)
    assert of_torch(name) <= known


def test_every_parameter_of_attention_is_known() -> None:
    assert of_torch("scaled_dot_product_attention") <= set(intercept._SDPA_SIGNATURE.parameters)
    assert of_torch("normalize") == {"p", "dim", "eps", "out"}  # the helper sees what torch hands on
    parameters = inspect.signature(F.multi_head_attention_forward).parameters
    taken = {n for n in parameters if f'"{n}"' in inspect.getsource(intercept)}
    # only in training, or given where attention's weights come from
    assert set(parameters) - taken <= {
        "embed_dim_to_check",
        "q_proj_weight",
        "k_proj_weight",
        "v_proj_weight",
    }


class Staged(nn.Module):
    """Patches, one stage on (B, N, D), a layer, a head."""

    def __init__(self, stage: Callable[[Tensor], Tensor]):
        super().__init__()
        torch.manual_seed(0)
        self.patch_size, self.stage = 8, stage
        self.embed, self.layer = nn.Conv2d(3, WIDTH, 8, 8), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.layer(self.stage(tokens)).mean(1))


def relevance(stage: Callable[[Tensor], Tensor], positive: bool = False) -> Tensor:
    """By AttnLRP at the pixels, or by transformer attribution's rules."""
    model, x = Staged(stage), pixels()
    if not positive:
        return AttnLRP(model, **GAMMAS).attribute_patches(x, 1)
    x = x.requires_grad_()
    with followed(model), RelevanceRules(2, 17):
        logits = model(x.clone())
    start = torch.zeros_like(logits)
    start[:, 1] = 1
    with followed(model):
        return F.avg_pool2d(torch.autograd.grad(logits, x, start)[0].sum(1), 8)


RULE_SETS = pytest.mark.parametrize("positive", [False, True], ids=["attn_lrp", "translrp"])
W = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3))
POSITION = torch.randn(16, WIDTH, generator=torch.Generator().manual_seed(4))


def in_place(change: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    def stage(z: Tensor) -> Tensor:
        z = F.linear(z, W)
        change(z)
        return z

    return stage


def plain(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda z: function(F.linear(z, W))


def assigned(z: Tensor) -> None:
    z[:] = z + POSITION


def part(z: Tensor) -> None:
    z[:, :4] += POSITION[:4]


def into_zeros(z: Tensor) -> Tensor:
    out = torch.zeros_like(z)
    out[:, 4:] = z[:, 4:]
    return out


def silu_by_hand(z: Tensor) -> None:
    z.mul_(torch.sigmoid(z))


SAME: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "x += p": (in_place(lambda z: z.__iadd__(POSITION)), plain(lambda z: z + POSITION)),
    "x.add_(p)": (in_place(lambda z: z.add_(POSITION)), plain(lambda z: z + POSITION)),
    "x.add_(other=p)": (in_place(lambda z: z.add_(other=POSITION)), plain(lambda z: z + POSITION)),
    "x[:] = x + p": (in_place(assigned), plain(lambda z: z + POSITION)),
    "x[:, :4] += p": (in_place(part), plain(lambda z: torch.cat([z[:, :4] + POSITION[:4], z[:, 4:]], 1))),
    "x -= p": (in_place(lambda z: z.__isub__(POSITION)), plain(lambda z: z - POSITION)),
    "x *= 2": (in_place(lambda z: z.__imul__(2.0)), plain(lambda z: z * 2.0)),
    "x /= 2": (in_place(lambda z: z.__itruediv__(2.0)), plain(lambda z: z / 2.0)),
    "x *= scale": (in_place(lambda z: z.mul_(POSITION)), plain(lambda z: z * POSITION)),
    "x += y": (in_place(lambda z: z.add_(z.flip(1))), plain(lambda z: z + z.flip(1))),
    "x *= y": (in_place(lambda z: z.mul_(z.flip(1))), plain(lambda z: z * z.flip(1))),
    "silu by hand": (in_place(silu_by_hand), plain(F.silu)),
    "silu(inplace=True)": (in_place(lambda z: F.silu(z, inplace=True)), plain(F.silu)),
    "relu(x, True)": (in_place(lambda z: F.relu(z, True)), plain(F.relu)),
    "relu_": (in_place(torch.relu_), plain(F.relu)),
    "hardtanh_": (in_place(F.hardtanh_), plain(F.hardtanh)),
    "clamp_": (in_place(lambda z: z.clamp_(min=0)), plain(F.relu)),
    "into zeros": (plain(into_zeros), plain(lambda z: F.pad(z[:, 4:], (0, 0, 4, 0)))),
    "zeros.add_": (plain(lambda z: torch.zeros_like(z).add_(z)), plain(lambda z: z + 0.0)),
    "copy_": (plain(lambda z: torch.empty_like(z).copy_(z)), plain(lambda z: z)),
    "dropout(inplace=True)": (plain(lambda z: F.dropout(z, 0.5, False, True)), plain(lambda z: z)),
    "torch.dropout(train=)": (plain(lambda z: torch.dropout(z, 0.5, train=False)), plain(lambda z: z)),
    "linear by name": (
        plain(lambda z: F.linear(input=z, bias=W[0], weight=W)),
        plain(lambda z: F.linear(z, W, W[0])),
    ),
    "conv by name": (
        plain(lambda z: F.conv1d(input=z.mT, weight=W[..., None], stride=1, bias=None).mT),
        plain(lambda z: F.conv1d(z.mT, W[..., None]).mT),
    ),
    "add by name": (plain(lambda z: torch.add(input=z, other=POSITION)), plain(lambda z: z + POSITION)),
    "mul by name": (plain(lambda z: torch.mul(z, other=z.flip(1))), plain(lambda z: z * z.flip(1))),
    "matmul by name": (plain(lambda z: torch.matmul(input=z, other=W, out=None)), plain(lambda z: z @ W)),
    "bmm by name": (
        plain(lambda z: torch.bmm(input=z @ z.mT, mat2=z)),
        plain(lambda z: torch.bmm(z @ z.mT, z)),
    ),
    "einsum of one": (plain(lambda z: torch.einsum("bnd->bdn", z).mT), plain(lambda z: z)),
    "einsum with a matrix": (plain(lambda z: torch.einsum("bnd,de->bne", z, W)), plain(lambda z: z @ W)),
    "mean by name": (
        plain(lambda z: torch.mean(input=z, dim=1, keepdim=True, dtype=None)),
        plain(lambda z: z.mean(1, keepdim=True)),
    ),
    "interpolate by name": (
        plain(lambda z: F.interpolate(input=z.mT, size=8, mode="linear").mT),
        plain(lambda z: F.interpolate(z.mT, 8, None, "linear").mT),
    ),
    "softmax(dtype=)": (
        plain(lambda z: F.softmax(z, dim=-1, dtype=torch.float32)),
        plain(lambda z: z.softmax(-1)),
    ),
    "softmax by name": (plain(lambda z: torch.softmax(input=z, dim=-1)), plain(lambda z: z.softmax(-1))),
    "gelu(approximate=)": (plain(lambda z: F.gelu(input=z, approximate="tanh")), plain(nn.GELU("tanh"))),
    "layer_norm by name": (
        plain(lambda z: F.layer_norm(input=z, normalized_shape=(WIDTH,), bias=W[0], weight=W[1], eps=1e-3)),
        plain(lambda z: F.layer_norm(z, (WIDTH,), W[1], W[0], 1e-3)),
    ),
    "torch.layer_norm": (
        plain(lambda z: torch.layer_norm(z, (WIDTH,), W[1], W[0], 1e-5, cudnn_enable=False)),
        plain(lambda z: F.layer_norm(z, (WIDTH,), W[1], W[0])),
    ),
    "rms_norm by name": (
        plain(lambda z: F.rms_norm(input=z, normalized_shape=[WIDTH], eps=1e-6)),
        plain(lambda z: z / (z.square().mean(-1, keepdim=True) + 1e-6).sqrt().detach()),
    ),
    "batch_norm": (
        plain(lambda z: F.batch_norm(z.mT, running_mean=W[0], running_var=W[1].abs(), eps=1e-5).mT),
        plain(lambda z: torch.batch_norm(z.mT, None, None, W[0], W[1].abs(), False, 0.1, 1e-5, False).mT),
    ),
    "attention by name": (
        plain(lambda z: attention(value=z[:, None], key=z[:, None], query=z[:, None])[:, 0]),
        plain(lambda z: attention(*[z[:, None]] * 3, None, 0.0, False, scale=None)[:, 0]),
    ),
    "normalize by name": (
        plain(lambda z: F.normalize(input=z, dim=-1, out=None)),
        plain(lambda z: F.normalize(z, 2.0, 2)),
    ),
}


@RULE_SETS
@pytest.mark.parametrize("name", SAME)
def test_one_map_for_one_computation(name: str, positive: bool) -> None:
    called, expected = SAME[name]
    torch.testing.assert_close(
        Staged(called)(pixels()), Staged(expected)(pixels()), rtol=1e-4, atol=1e-4
    )  # they are one computation
    wanted = relevance(expected, positive)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(relevance(called, positive), wanted, rtol=1e-3, atol=1e-5)


FUNCTIONS = [
    name
    for name, kind in RULES.items()
    if inspect.isfunction(getattr(F, name, None)) and kind in ("nonlinear", "norm", "softmax", "dropout")
]


@RULE_SETS
@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_at_their_defaults_change_nothing(name: str, positive: bool) -> None:
    """As torch hands them on when another library calls with all of them."""
    func = getattr(F, name)
    needed = {"dim": -1} if name == "softmax" else {}
    needed |= {"normalized_shape": (WIDTH,)} if name in ("layer_norm", "rms_norm") else {}
    needed |= {"training": False} if RULES[name] == "dropout" else {}
    defaults = {
        n: p.default for n, p in inspect.signature(func).parameters.items() if p.default is not p.empty
    }
    every = plain(lambda z: func(z, **defaults | needed))
    assert torch.equal(relevance(every, positive), relevance(plain(lambda z: func(z, **needed)), positive))


@RULE_SETS
@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (lambda z: F.normalize(z, dim=-1, out=torch.empty_like(z)), "'normalize' .* with 'out'"),
        (lambda z: torch.matmul(z, W, out=torch.empty(2, 16, WIDTH)), "'matmul' .* with 'out'"),
        (lambda z: torch.cat([z, z], 1, out=torch.empty(0)), "'cat' .* with 'out'"),
        (lambda z: torch.div(z, 2, rounding_mode="floor"), "'div' .* with 'rounding_mode'"),
        (lambda z: torch.add(z, z, alpha=3), "alpha"),
        (lambda z: z.add_(POSITION, alpha=3), "alpha"),
        (lambda z: z + z.clone().detach_(), "detach_"),
        (lambda z: z + z.clone().exp_(), "exp_"),
        (lambda z: setattr(z, "data", z.data * 2) or z, "__set__ data"),
        (lambda z: F.layer_norm(z, (WIDTH,), weight=z[0, 0]), "depends on the image"),
        (lambda z: F.linear(z, W, z[0, 0]), "depends on the image"),
        (lambda z: _written_after_use(z), "writes over features that are needed again"),
        (lambda z: sum(t.add_(1) for t in z.chunk(2, 1)), "writes over features that are needed again"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    stage: Callable[[Tensor], Tensor], said: str, positive: bool
) -> None:
    with pytest.raises(ModelError, match=said):
        relevance(plain(stage), positive)


def test_what_a_model_lacks_a_rule_for_is_known_beforehand() -> None:
    def pooled(z: Tensor) -> Tensor:
        return F.max_pool1d(z, 1)

    def same(z: Tensor) -> Tensor:
        return z

    refused = find_capabilities(Staged(pooled), pixels()[:1]).refusals
    offered = find_capabilities(Staged(same), pixels()[:1]).methods
    for name in ("attn_lrp", "cp_lrp"):
        assert "'max_pool1d' on its features, for which no propagation rule" in str(refused[name])
        assert name in offered
    assert refused["integrated_gradients"] is None


def _written_after_use(z: Tensor) -> Tensor:
    product = z @ z.mT @ z
    z.add_(1)
    return product + z


def test_pixels_that_the_model_shifts_in_place() -> None:
    class Shifting(Staged):
        def forward(self, x: Tensor) -> Tensor:
            x *= 2
            return super().forward(x)

    def same(z: Tensor) -> Tensor:
        return z

    shifting, model, x = Shifting(same), Staged(same), pixels()
    with torch.no_grad():
        model.embed.weight *= 2
    before = x.clone()
    got = AttnLRP(shifting, **GAMMAS).attribute_patches(x, 1)
    torch.testing.assert_close(got, AttnLRP(model, **GAMMAS).attribute_patches(x, 1))
    assert torch.equal(x, before)


def test_relevance_at_the_embedding_is_that_before_positions_are_added_in_place() -> None:
    maps = [
        AttnLRP(Staged(stage), at="embeddings", **GAMMAS).attribute_patches(pixels(), 1)
        for stage in (lambda z: z.add_(POSITION), lambda z: z + POSITION)
    ]
    torch.testing.assert_close(*maps)
