"""AttnLRP and CP-LRP against relevance shared out contribution by contribution, without autograd."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers as hf
from lrp_oracle import Rules, read_out
from torch import Tensor, nn
from vit_zoo import COMMON, HEADS, HUGGING_FACE, LABELS, WIDTH, ZOO, Logits, build, pixels

from xai.attention import grid_of
from xai.attr import CPLRP, AttnLRP, InputXGradient
from xai.attr.lrp_gradient import GradientRules
from xai.attr.lrp_rules import followed
from xai.core import Margin, ModelError, UsageError

PLAIN = {"gamma": 0.0, "gamma_attention": 0.0, "gamma_embedding": 0.0}
GAMMAS = {"gamma": 0.3, "gamma_attention": 0.1, "gamma_embedding": 0.5}
METHODS = pytest.mark.parametrize("method", [AttnLRP, CPLRP])
MODELS = {  # style, read-out, and where tower and head are
    "vit": ("vit", "cls", lambda m: (m.model.vit, m.model.classifier)),
    "clip": ("clip", "cls", lambda m: (m.model, m.head)),
    "clip_mean_pooled": ("clip", "mean", lambda m: (m.model.vision_model, m.model.classifier)),
}


def close(got: Tensor, expected: Tensor, relative: float) -> bool:
    expected = expected.detach()
    return float((got - expected).abs().max()) <= relative * float(expected.abs().max())


def strip(model: nn.Module) -> nn.Module:
    """Without biases, positions and special tokens, nothing but the pixels can hold relevance."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "_token", "class_embedding")) or "position" in name:
                parameter.zero_()
    return model


@pytest.mark.parametrize("options", [PLAIN, GAMMAS], ids=["epsilon", "gamma"])
@METHODS
@pytest.mark.parametrize("name", MODELS)
def test_equals_explicit_propagation(name: str, method: type, options: dict[str, float]) -> None:
    style, pooled, parts = MODELS[name]
    model, x = build(name), pixels()
    tower, head = parts(model)
    rules = Rules(constant_attention=method is CPLRP, **options)
    runs = [read_out(tower, head, style, pooled, image, 1, rules) for image in x]
    model.double()
    torch.testing.assert_close(torch.stack([run.logits for run, _ in runs]), model(x.double()))
    for at in ("pixels", "embeddings"):
        got = method(model, at=at, **options).attribute_patches(x.double(), 1).flatten(1)
        spread = [run.to_pixels(r) if at == "pixels" else run.to_patches(r) for run, r in runs]
        assert close(got, torch.stack(spread), 1e-6)  # the activation's quotient is stabilised by 1e-6
    single = method(model.float(), **options).attribute_patches(x, 1).flatten(1)
    assert close(single, torch.stack([run.to_pixels(r) for run, r in runs]).float(), 1e-3)


@pytest.mark.parametrize("options", [PLAIN, GAMMAS], ids=["epsilon", "gamma"])
@pytest.mark.parametrize("name", [n for n in HUGGING_FACE if n != "dinov3"])
def test_without_biases_cp_lrp_sums_to_the_score(name: str, options: dict[str, float]) -> None:
    model, x = strip(build(name)).double(), pixels().double()
    if name == "dinov2_registers":
        with torch.no_grad():
            model.model.base_model.embeddings.register_tokens.zero_()
    got = CPLRP(model, **options).attribute_patches(x, 2)
    # elements of the activations nearer to 0 than 1e-6 keep their share
    torch.testing.assert_close(got.sum((1, 2)), model(x)[:, 2], rtol=1e-5, atol=1e-6)


def test_attn_lrp_sums_to_the_score_but_for_the_softmax() -> None:
    """With scores of zero, the softmax hands nothing on: what reached the probabilities is missing."""
    model, x = strip(build("vit")).double(), pixels().double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "q_proj" in name:
                parameter.zero_()
    relevance = AttnLRP(model, **PLAIN).attribute_patches(x, 2).sum((1, 2))
    constant = CPLRP(model, **PLAIN).attribute_patches(x, 2).sum((1, 2))
    score = model(x)[:, 2].detach()
    torch.testing.assert_close(constant, score, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(relevance, score, rtol=0.05)


@METHODS
def test_biases_and_tokens_hold_what_is_missing(method: type) -> None:
    """Leaves of the modified graph, times their gradient: with γ = 0 they make up the score of CP-LRP."""
    model, x = build("vit").double(), pixels(1).double().requires_grad_()
    leaves = [x]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if name.endswith("bias") or "cls_token" in name or "position" in name:
            leaves.append(parameter.requires_grad_())
    with GradientRules(0.0, 0.0, 0.0, constant_attention=method is CPLRP):
        y = model(x)[0, 1]
    shares = torch.stack(
        [
            (leaf * g).sum()
            for leaf, g in zip(leaves, torch.autograd.grad(y, leaves, materialize_grads=True), strict=True)
        ]
    )
    got = method(model, **PLAIN).attribute_patches(x, 1).sum()
    torch.testing.assert_close(got, shares[0].detach())
    if method is CPLRP:
        torch.testing.assert_close(shares.sum(), y, rtol=1e-5, atol=1e-6)


class LinearViT(nn.Module):
    """Patches, a linear layer on each, their mean, a linear head: neither activation nor softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = 8
        self.embed = nn.Conv2d(3, WIDTH, 8, 8)
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        tokens = tokens + 0.5 * self.layer(tokens)
        return self.head(tokens.mean(1))


@METHODS
def test_of_a_linear_model_it_is_gradient_times_input(method: type) -> None:
    model, x = LinearViT(), pixels()
    expected = InputXGradient(model).attribute_patches(x, 1)
    torch.testing.assert_close(method(model, **PLAIN).attribute_patches(x, 1), expected)


def siglip_by_hand(model: nn.Module, x: Tensor, constant: bool) -> Tensor:
    """Gradient × input with what is constant detached by hand, pooling head included."""
    part = 1.0 if constant else 0.5

    def fraction(t: Tensor, share: float) -> Tensor:
        return t.detach() + share * (t - t.detach())

    def norm(t: Tensor, layer: nn.LayerNorm) -> Tensor:
        deviation = (t.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt().detach()
        return (t - t.mean(-1, keepdim=True)) / deviation * layer.weight + layer.bias

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in (q, k, v))
        scores = fraction(q, 0.5) @ fraction(k, 0.5).transpose(2, 3) * q.shape[-1] ** -0.5
        a = scores.softmax(-1)
        a = a.detach() if constant else fraction(a, 0.5)
        return (a @ fraction(v, part)).transpose(1, 2).flatten(2)

    def mlp(t: Tensor, block: nn.Module) -> Tensor:
        h = block.fc1(t)
        return block.fc2(h * (F.gelu(h, approximate="tanh") / h).detach())

    tower, head = model.model, model.model.head
    t = tower.embeddings(x)
    for layer in tower.encoder.layers:
        n, attention = norm(t, layer.layer_norm1), layer.self_attn
        out = attend(attention.q_proj(n), attention.k_proj(n), attention.v_proj(n))
        t = t + attention.out_proj(out)
        t = t + mlp(norm(t, layer.layer_norm2), layer.mlp)
    t = norm(t, tower.post_layernorm)
    pool = head.attention
    probe = head.probe.expand(len(x), -1, -1)
    given = (
        F.linear(s, w, b)
        for s, w, b in zip(
            (probe, t, t), pool.in_proj_weight.chunk(3), pool.in_proj_bias.chunk(3), strict=True
        )
    )
    pooled = pool.out_proj(attend(*given))
    return model.head((pooled + mlp(norm(pooled, head.layernorm), head.mlp))[:, 0])


@METHODS
def test_pooling_head_equals_detaching_by_hand(method: type) -> None:
    model, x = build("siglip_pooling_head"), pixels().requires_grad_()
    logits = siglip_by_hand(model, x, method is CPLRP)
    torch.testing.assert_close(logits, model(x))
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), x)
    expected = F.avg_pool2d((x * gradient).sum(1), 8) * 64
    assert close(method(model, **PLAIN).attribute_patches(x, 2), expected.detach(), 1e-5)


@METHODS
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_eager_attention_gives_the_same(name: str, method: type) -> None:
    model, x = build(name), pixels()
    fused = method(model, **GAMMAS).attribute_patches(x, 1)
    model.model.set_attn_implementation("eager")
    assert close(method(model, **GAMMAS).attribute_patches(x, 1), fused, 2e-5)


@METHODS
@pytest.mark.parametrize("name", ZOO)
def test_the_forward_pass_is_the_models_own(name: str, method: type) -> None:
    model, x = build(name), pixels()
    with followed(model), GradientRules(0.1, 0.1, 0.1, constant_attention=method is CPLRP):
        logits = model(x.clone().requires_grad_())
    torch.testing.assert_close(logits, model(x), rtol=1e-4, atol=1e-5)
    assert method(model).attribute_patches(x, 0).abs().flatten(1).amax(1).min() > 0


@METHODS
def test_targets_share_one_forward_pass(method: type) -> None:
    model, x, calls = build("clip"), pixels(), []
    grid_of(model, x)  # which takes a pass of its own, once
    model.register_forward_hook(lambda *_: calls.append(1))
    targets = [0, 1, Margin(1)]
    together = method(model).attribute_targets(x, targets)
    assert len(calls) == 1
    for got, target in zip(together, targets, strict=True):
        torch.testing.assert_close(got, method(model).attribute_patches(x, target))


class Activated(nn.Module):
    """Patches, one activation, a head."""

    def __init__(self, activation: Any):
        super().__init__()
        self.patch_size, self.activation = 8, activation
        self.embed, self.head = nn.Conv2d(3, WIDTH, 8, 8), nn.Linear(WIDTH, 3)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.activation(self.embed(x)).mean((2, 3)))


ACTIVATIONS = {
    "gelu": (F.gelu, hf.activations.GELUActivation(use_gelu_python=True)),
    "gelu_new": (nn.GELU(approximate="tanh"), hf.activations.NewGELUActivation()),
    "gelu_fast": (nn.GELU(approximate="tanh"), hf.activations.FastGELUActivation()),
    "silu": (F.silu, lambda x: x * torch.sigmoid(x)),
    "mish": (F.mish, lambda x: x * torch.tanh(F.softplus(x))),
    "relu": (F.relu, lambda x: x * (x > 0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_written_out_are_one_function(name: str) -> None:
    torch.manual_seed(0)
    fused, written = ACTIVATIONS[name]
    model, x = Activated(fused), pixels()
    expected = AttnLRP(model, **PLAIN).attribute_patches(x, 1)
    model.activation = written
    torch.testing.assert_close(
        AttnLRP(model, **PLAIN).attribute_patches(x, 1), expected, rtol=1e-3, atol=1e-6
    )


def test_gates_share_half_and_half() -> None:
    """SwiGLU: `silu(a) · b` gives half of its relevance to a, half to b."""
    torch.manual_seed(0)
    model = Activated(lambda z: F.silu(z[:, :16]) * z[:, 16:])
    model.head = nn.Linear(16, 3)
    x = pixels().requires_grad_()
    z = model.embed(x)
    a, b = z[:, :16], z[:, 16:]
    gate = a * (F.silu(a) / a).detach()
    y = model.head((0.5 * gate * b.detach() + 0.5 * gate.detach() * b).mean((2, 3)))[:, 1].sum()
    expected = F.avg_pool2d((x * torch.autograd.grad(y, x)[0]).sum(1), 8) * 64
    torch.testing.assert_close(AttnLRP(model, **PLAIN).attribute_patches(x, 1), expected.detach())


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda z: z.flatten(2).sort(-1).values[..., None], "sort"),
        (lambda z: z.flatten(2).cumsum(-1)[..., None], "cumsum"),
        (lambda z: 1 / z, "__rdiv__"),
        (lambda z: z / z.sum(1, keepdim=True), "div"),
        (lambda z: (z + z).detach_() + z, "detach_"),
        (lambda z: torch.baddbmm(z.flatten(2), z.flatten(2), torch.ones(2, 16, 16))[..., None], "baddbmm"),
        (lambda z: F.layer_norm(z.mean((2, 3)), (WIDTH,), z[0, :, 0, 0])[..., None, None], "depends on the"),
        (lambda z: torch.add(z, z.flip(1), alpha=2), "alpha"),
        (lambda z: F.dropout(z, 0.5, True), "eval"),
        (lambda z: torch.fft.rfft2(z).abs(), "fft"),
    ],
)
@METHODS
def test_an_operation_without_a_rule_is_an_error(method: type, operation: Any, said: str) -> None:
    model = Activated(operation)
    flags = [p.requires_grad for p in model.parameters()]
    with pytest.raises(ModelError, match=said):
        method(model).attribute(pixels(), target=1)
    assert flags == [p.requires_grad for p in model.parameters()]
    assert torch.overrides._get_current_function_mode_stack() == []


def test_compiled_parts_are_refused() -> None:
    model = Activated(torch.jit.script(nn.GELU()))
    with pytest.raises(ModelError, match="compiled"):
        AttnLRP(model).attribute(pixels(), target=1)


@METHODS
def test_a_backbone_under_no_grad_gives_the_same(method: type) -> None:
    class Frozen(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner, self.config = inner, inner.model.config

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                feature = self.inner.model(x).pooler_output
            return self.inner.head(feature.detach())

    model, x = build("clip"), pixels()
    torch.testing.assert_close(
        method(Frozen(model)).attribute_patches(x, 1), method(model).attribute_patches(x, 1)
    )


@METHODS
def test_without_a_bias_the_embedding_moves_relevance_within_patches_only(method: type) -> None:
    model, x = build("clip"), pixels()
    maps = [
        method(model, gamma_embedding=g, at=at).attribute_patches(x, 1)
        for g, at in ((0.0, "pixels"), (0.7, "pixels"), (0.25, "embeddings"))
    ]
    assert close(maps[0], maps[2], 1e-4)
    assert close(maps[1], maps[2], 1e-4)


def test_grids_that_are_not_square() -> None:
    model = Logits(hf.ViTForImageClassification(hf.ViTConfig(**{**COMMON, "image_size": (32, 48)}, **LABELS)))
    assert AttnLRP(model.eval()).attribute_patches(pixels(2, 32, 48), 1).shape == (2, 4, 6)


@pytest.mark.parametrize("option", [{"gamma": -0.1}, {"gamma_embedding": float("inf")}, {"at": "pixel"}])
def test_wrong_options_are_told(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AttnLRP(build("clip"), **option)
