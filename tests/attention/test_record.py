"""The recorder: sees every family, changes nothing, and says what it saw when it cannot help."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from vit_zoo import HEADS, LAYERS, PATCH, WIDTH, ZOO, Logits, build, pixels

from xai.attention import attention_rows, diagnose, find_layout, gradient_rows, probe, record_attention
from xai.attention.record import row_chunks
from xai.core import ModelError, PatchGrid

READOUT = {
    "clip_mean_pooled": "mean over patches",
    "siglip": "mean over patches",
    "beit": "mean over patches",
    "siglip_pooling_head": "pooling head",
}
PREFIX = {"deit": 2, "dinov2_registers": 5, "dinov3": 5, "siglip": 0, "siglip_pooling_head": 0}


@pytest.mark.parametrize("name", ZOO)
def test_recorded_attention_equals_attention_in_the_open(name: str) -> None:
    seen = diagnose(build(name), pixels())
    assert seen.probe.readout == READOUT.get(name, "class token")
    assert seen.probe.grid == PatchGrid(4, 4, PREFIX.get(name, 1))
    assert seen.probe.layers == LAYERS + (name == "siglip_pooling_head")
    assert seen.heads == (HEADS,) * seen.probe.layers
    assert seen.attention_error < 3e-6
    assert seen.gradient_error < 3e-6
    assert seen.logit_error < 1e-6
    assert min(seen.gradient_norms) > 0


def _state(model: nn.Module) -> dict[str, object]:
    return {
        "weights": {k: v.clone() for k, v in model.state_dict().items()},
        "flags": [p.requires_grad for p in model.parameters()],
        "gradients": [p.grad for p in model.parameters()],
        "training": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
    }


def _same(before: dict[str, object], after: dict[str, object]) -> bool:
    weights = zip(before.pop("weights").values(), after.pop("weights").values(), strict=True)
    return all(torch.equal(a, b) for a, b in weights) and before == after


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_the_modes_are_as_before(fails: bool) -> None:
    model = build("clip")
    next(model.parameters()).requires_grad_(False)  # a mixed state must come back mixed
    before, original, plain = _state(model), F.scaled_dot_product_attention, model(pixels())
    grad_mode = torch.is_grad_enabled()
    try:
        with record_attention(model, tokens=17, layers=[4]):
            recorded = model(pixels())
            if fails:
                raise KeyError("in the middle")
    except KeyError:
        assert fails
    assert _same(before, _state(model))
    assert F.scaled_dot_product_attention is original
    assert torch.is_grad_enabled() == grad_mode
    assert torch.overrides._get_current_function_mode_stack() == []
    assert torch.equal(plain, recorded)


def test_the_graph_starts_at_the_lowest_chosen_layer() -> None:
    model = build("clip")
    with record_attention(model, tokens=17, layers=[3, 4]) as recording:
        logits = model(pixels())
    assert sorted(recording.calls) == [3, 4]
    assert recording.calls[3].output.is_leaf
    assert not recording.calls[4].output.is_leaf
    below = set()
    stack = [logits.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in below:
            below.add(node)
            stack.extend(n for n, _ in node.next_functions)
    leaves = [n.variable for n in below if hasattr(n, "variable")]
    assert len(leaves) == 1
    assert leaves[0] is recording.calls[3].output


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_callers_without_gradients(mode: type) -> None:
    model, x = build("torch_encoder"), pixels()
    with mode(), record_attention(model, tokens=17) as recording:
        logits = model(x)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), [recording.calls[0].output])
    assert gradient.abs().max() > 0


class FrozenBackbone(nn.Module):
    """A detector that runs its backbone under no_grad, as many published ones do."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.backbone(x)


def test_a_backbone_under_no_grad_is_explained_all_the_same() -> None:
    plain = build("clip")
    assert diagnose(FrozenBackbone(plain), pixels()).gradient_norms == pytest.approx(
        diagnose(plain, pixels()).gradient_norms
    )


def test_other_threads_are_not_seen() -> None:
    model = build("clip")
    with record_attention(model, tokens=17, gradients=False) as recording:
        thread = threading.Thread(target=lambda: build("clip")(pixels()))
        thread.start()
        thread.join()
        model(pixels())
    assert recording.layers == LAYERS


def test_errors_say_what_was_seen() -> None:
    convolution = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), nn.Linear(64, 2))
    with (
        pytest.raises(ModelError, match="no call of scaled_dot_product_attention"),
        record_attention(convolution, tokens=17),
    ):
        convolution(pixels())

    model = build("clip")
    with pytest.raises(ModelError, match=r"grid has 26 tokens.*17×17"), record_attention(model, tokens=26):
        model(pixels())
    with pytest.raises(ModelError, match="model ran 6"), record_attention(model, tokens=17, layers=[9]):
        model(pixels())

    model.model.set_attn_implementation("eager")
    with (
        pytest.raises(ModelError, match=r"set_attn_implementation\(\"sdpa\"\)"),
        record_attention(model, tokens=17),
    ):
        model(pixels())

    with torch.inference_mode():
        built_in_inference_mode = build("clip")
    with (
        pytest.raises(ModelError, match="built under torch.inference_mode"),
        record_attention(built_in_inference_mode, tokens=17),
    ):
        pass


def test_attention_dropout_is_refused() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, dropout=0.5, batch_first=True)
    with pytest.raises(ModelError, match="model.eval"), record_attention(layer, tokens=5):
        layer(torch.randn(2, 5, WIDTH))


def test_text_attention_is_passed_through() -> None:
    class TwoTowers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image, self.text = build("clip"), nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            words = torch.ones(len(x), 9, WIDTH)
            return self.image(x) + self.text(words, words, words)[0].mean()

    model = TwoTowers().eval()
    with record_attention(model, tokens=17) as recording:
        model(pixels())
    assert recording.layers == LAYERS
    assert (9, 9) in recording.shapes


def _by_hand(q, k, v, mask=None, scale=None, causal=False):
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


class Fused(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, **self.options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": 0.3},
        {"is_causal": True},
        {"attn_mask": torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(3))},
        {"attn_mask": torch.randn(5, 5, generator=torch.Generator().manual_seed(3))},
        {"attn_mask": torch.eye(5, dtype=torch.bool) | (torch.arange(5) < 2)},
        {"attn_mask": torch.arange(5)[None, None, None] < 3},
        {"enable_gqa": True},
    ],
    ids=["plain", "scale", "causal", "mask", "mask2d", "bool", "bool-row", "grouped"],
)
def test_rows_under_every_option(options: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, 5, 8, generator=generator, dtype=torch.float64)
    kv_heads = 2 if options.get("enable_gqa") else 4
    k, v = (torch.randn(2, kv_heads, 5, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    options = {
        n: o.double() if isinstance(o, torch.Tensor) and o.is_floating_point() else o
        for n, o in options.items()
    }
    model = Fused(**options)
    with record_attention(model, tokens=5) as recording:
        out = model(q, k, v)
    call = recording.calls[0]
    wanted = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    kk, vv = (x.repeat_interleave(4 // kv_heads, 1) for x in (k, v))
    attention = _by_hand(
        q, kk, vv, options.get("attn_mask"), options.get("scale"), options.get("is_causal", False)
    )
    attention.requires_grad_()
    (expected,) = torch.autograd.grad((attention @ vv * wanted).sum(), attention)
    (got,) = torch.autograd.grad((out * wanted).sum(), call.output)
    for rows in ([0], [1, 3], slice(None)):
        torch.testing.assert_close(attention_rows(call, rows), attention[..., rows, :].detach())
        torch.testing.assert_close(gradient_rows(call, got, rows), expected[..., rows, :])


def test_row_chunks_cover_the_rows_once_within_the_limit() -> None:
    model = Fused()
    with record_attention(model, tokens=5) as recording:
        model(*torch.randn(3, 2, 4, 5, 8).unbind())
    call = recording.calls[0]
    chunks = row_chunks(call, slice(None), entries=2 * 4 * 5 * 2)
    assert chunks == [[0, 1], [2, 3], [4]]
    assert row_chunks(call, [4, 1], entries=1) == [[4], [1]]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("mask", [None, "attention", "padding"])
def test_multihead_attention_gives_what_it_gave(need_weights, batch_first, separate, mask) -> None:
    torch.manual_seed(0)
    kdim = {"kdim": 24, "vdim": 24} if separate else {}
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first, **kdim).eval()
    q, kv = torch.randn(2, 7, WIDTH), torch.randn(2, 7, 24 if separate else WIDTH)
    q, kv = (q, kv) if batch_first else (q.transpose(0, 1), kv.transpose(0, 1))
    hidden = torch.zeros(7, 7, dtype=torch.bool).index_fill_(1, torch.tensor([2]), True)
    masks = {
        None: {},
        "attention": {"attn_mask": hidden},
        "padding": {"key_padding_mask": hidden[:2]},
    }[mask]
    arguments = {"need_weights": need_weights, "average_attn_weights": False, **masks}
    expected = layer(q, kv, kv, **arguments)
    with record_attention(layer, tokens=7) as recording:
        got = layer(q, kv, kv, **arguments)
    torch.testing.assert_close(got[0], expected[0])
    assert (got[1] is None) == (expected[1] is None)
    if need_weights:
        torch.testing.assert_close(got[1], expected[1])
        torch.testing.assert_close(attention_rows(recording.calls[0], slice(None)), expected[1])


def test_multihead_attention_with_extra_tokens_is_refused() -> None:
    layer = nn.MultiheadAttention(WIDTH, HEADS, add_bias_kv=True).eval()
    with pytest.raises(ModelError, match="bias_k"), record_attention(layer, tokens=8):
        layer(*[torch.randn(7, 1, WIDTH)] * 3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48)])
def test_layout_follows_the_input_size(height: int, width: int) -> None:
    model = build("dinov2_registers")
    grid = find_layout(model).grid(height, width)
    assert grid == PatchGrid(height // PATCH, width // PATCH, 5)
    seen = probe(model, pixels(height=height, width=width), (), grid)
    assert (seen.grid.rows, seen.grid.cols, seen.layers) == (height // PATCH, width // PATCH, LAYERS)


def test_layout_is_never_guessed() -> None:
    with pytest.raises(ModelError, match="does not say its patch size"):
        find_layout(nn.Linear(3, 3))
    with pytest.raises(ModelError, match="smaller than a patch"):
        find_layout(build("clip")).grid(4, 32)


def test_detached_features_are_told() -> None:
    class Detached(Logits):
        def forward(self, x):
            return self.head(self.model(pixel_values=x).pooler_output.detach())

    tower = build("clip")
    with pytest.raises(ModelError, match="do not depend|No gradient"):
        diagnose(Detached(tower.model, tower.head), pixels())
