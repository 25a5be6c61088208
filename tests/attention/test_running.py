"""However a model is run (compiled, checkpointed, in training mode …), its map is the plain one or none."""

import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from plain_vit import DEPTH, WIDTH, TinyViT, images
from torch import nn
from torch.utils.checkpoint import checkpoint

import xai
from xai import attr
from xai.attention import check_repeatable, mask_patches, scale_attention
from xai.attention.running import as_written, is_checkpointing, is_compiled
from xai.core import ModelError, PatchGrid, XaiError
from xai.explanation import Explainer

GRID = PatchGrid(4, 4, 1)
METHODS = [
    "gradient_weighted_attention",
    "integrated_mask_gradient",
    "attention_rollout",
    "legrad",
    "token_grad_cam",
    "translrp",
    "attn_lrp",
]
LABELS = ["real", "fake"]


def a_map(model: nn.Module, method: str) -> torch.Tensor:
    options = {"n_steps": 4} if method == "integrated_mask_gradient" else {}
    return attr.create(method, xai.load(model, LABELS), **options).attribute_patches(images(), target=1)


def wrapped(model: TinyViT) -> nn.Module:
    return torch.compile(model, backend="eager")


def in_place(model: TinyViT) -> nn.Module:
    model.compile(backend="eager")
    return model


def one_block(model: TinyViT) -> nn.Module:
    model.blocks[1] = torch.compile(model.blocks[1], backend="eager")
    return model


def one_function(model: TinyViT) -> nn.Module:
    model.blocks[2].forward = torch.compile(model.blocks[2].forward, backend="eager")
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [wrapped, in_place, one_block, one_function])
def test_compiled_models_have_the_plain_map_or_none(how, method) -> None:
    plain, model = a_map(TinyViT(), method), how(TinyViT())
    with torch.no_grad():
        model(images())  # compiled code is there before anybody looks
    if "lrp" in method and how in (wrapped, one_block):
        with pytest.raises(ModelError, match="compiled"):
            a_map(model, method)
    else:
        torch.testing.assert_close(a_map(model, method), plain, rtol=1e-4, atol=1e-9)
    assert torch._dynamo.eval_frame._stance.stance == "default"


def test_a_model_that_compiles_itself_in_its_first_pass() -> None:
    """torch._dynamo, through which the compiler is told to stay away, is imported in the middle of it."""
    code = """
import sys, torch
from plain_vit import TinyViT, images
import xai
from xai.attr import GradientWeightedAttention
class Lazy(TinyViT):
    code = None
    def forward(self, x):
        if self.code is None:
            vars(self)["code"] = torch.compile(super().forward, backend="eager")
        return self.code(x)
def a_map(model):
    return GradientWeightedAttention(xai.load(model, ["real", "fake"])).attribute_patches(images(), target=1)
assert "torch._dynamo" not in sys.modules
lazy = a_map(Lazy())
assert "torch._dynamo" in sys.modules
torch.testing.assert_close(lazy, a_map(TinyViT()), rtol=1e-4, atol=1e-9)
assert torch._dynamo.eval_frame._stance.stance == "default"
"""
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_masks_and_scales_reach_into_compiled_models() -> None:
    plain, compiled, x = TinyViT(), wrapped(TinyViT()), images()
    present = torch.rand(2, 16, generator=torch.Generator().manual_seed(0)) > 0.5
    factor = {1: torch.tensor([0.3])}
    with torch.no_grad():
        whole = compiled(x)
        for block in (
            lambda m: mask_patches(m, present, GRID, images=2, calls=DEPTH),
            lambda m: scale_attention(m, factor, GRID.tokens, images=2, calls=DEPTH),
        ):
            with block(plain):
                expected = plain(x)
            with block(compiled):
                got = compiled(x)
            torch.testing.assert_close(got, expected)
            assert (got - whole).abs().max() > 1e-3


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_bare_checkpointing_is_refused_by_name(reentrant, method) -> None:
    model = TinyViT(lambda block, x, _: checkpoint(block, x, use_reentrant=reentrant))
    with pytest.raises(ModelError, match="checkpoint"):
        a_map(model, method)


def test_checkpointing_needs_no_refusal_where_gradients_pass_it() -> None:
    model = TinyViT(lambda block, x, _: checkpoint(block, x, use_reentrant=False))
    for method in ("saliency", "occlusion"):
        torch.testing.assert_close(a_map(model, method), a_map(TinyViT(), method))


class Flagged(TinyViT):
    """A flag, as timm has it: also in eval mode."""

    grad_checkpointing = False

    def __init__(self) -> None:
        super().__init__(self.checkpointed)
        self.grad_checkpointing = True

    def checkpointed(self, block, x, _):
        return checkpoint(block, x, use_reentrant=False) if self.grad_checkpointing else block(x)


def test_a_flag_for_checkpointing_is_off_meanwhile_and_on_again() -> None:
    model = Flagged()
    assert is_checkpointing(model) == [""]
    torch.testing.assert_close(a_map(model, METHODS[0]), a_map(TinyViT(), METHODS[0]))
    with pytest.raises(KeyError), as_written(model):
        assert not model.grad_checkpointing
        raise KeyError
    assert model.grad_checkpointing is True


class Recomputing(torch.autograd.Function):
    """A reversible network's way: no activations kept, the block run again in backward."""

    @staticmethod
    def forward(ctx, x, block):
        ctx.block = block
        ctx.save_for_backward(x)
        return block(x)

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(ctx.block(x), x, gradient)[0], None


def in_a_thread(block, x, index):
    if index != 1:
        return block(x)
    out, grad = [], torch.is_grad_enabled()

    def work():
        with torch.set_grad_enabled(grad):
            out.append(block(x))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return out[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("run", "message"),
    [
        (in_a_thread, "2 of 3|out of sight|does not pass"),
        (
            lambda b, x, i: Recomputing.apply(x, b) if i == 1 else b(x),
            "No gradient passes|backward pass of its",
        ),
        (lambda b, x, i: b(x).detach() if i == 1 else b(x), "No gradient passes"),
    ],
    ids=["thread", "recomputing", "detached"],
)
def test_what_runs_out_of_sight_is_refused(run, message, method) -> None:
    if method == "attn_lrp" and "backward" not in message and "sight" not in message:
        pytest.skip("LRP takes a detach for a constant, as documented")
    with pytest.raises(ModelError, match=message):
        a_map(TinyViT(run), method)


@cache
def graph(kind: str) -> nn.Module:
    """Made once: what refuses it leaves it as it is."""
    model, batch = TinyViT(), torch.export.Dim("batch")
    if kind == "exported":
        return torch.export.export(model, (images(),), dynamic_shapes=({0: batch},)).module()
    if kind == "traced":
        return torch.jit.trace(model, images(), check_trace=False)
    x = torch.randn(2, 17, WIDTH)
    model.blocks[1] = torch.export.export(model.blocks[1], (x,), dynamic_shapes=({0: batch},)).module()
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["exported", "traced", "one exported block"])
def test_graphs_are_refused_by_name_and_pixel_methods_work(kind, method) -> None:
    classifier = xai.load(graph(kind), LABELS, grid=GRID)
    with pytest.raises(ModelError, match=r"exported|torch\.jit|compiled|no propagation rule"):
        attr.create(method, classifier).attribute_patches(images(), target=1)
    if method == METHODS[0]:
        got = attr.create("saliency", classifier).attribute_patches(images(), target=1)
        torch.testing.assert_close(got, a_map(TinyViT(), "saliency"))


def test_a_graph_for_one_batch_size_says_so() -> None:
    given = torch.export.export(TinyViT(), (images(),)).module()
    method = attr.create("occlusion", xai.load(given, LABELS, grid=GRID))
    with pytest.raises(ModelError, match=r"exported or traced graph, which failed on pixels of shape"):
        method.attribute_patches(images(), target=1)


class AlwaysDropping(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3, training=True)


class StochasticDepth(nn.Module):
    def forward(self, x):
        return x * (torch.rand(()) > 0.1) if self.training else x


@pytest.mark.parametrize("method", ["gradient_weighted_attention", "saliency", "attn_lrp", "occlusion"])
@pytest.mark.parametrize(
    "mode",
    ["dropout", "one module", "depth", "by design"],
)
def test_randomness_is_refused(mode, method) -> None:
    model = TinyViT(drop=0.5)
    if mode == "dropout":
        model.train()
    elif mode == "one module":
        model.blocks[1].mlp.train()
    elif mode == "depth":
        model.blocks[1].mlp.append(StochasticDepth())
    else:
        model.blocks[0].mlp.append(AlwaysDropping().eval())
    expected = "by design|at random" if mode == "by design" else r"model\.eval\(\)"
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=expected):
        a_map(model, method)
    if mode != "by design":
        assert torch.equal(state, torch.get_rng_state())


def test_training_mode_without_consequence_is_explained() -> None:
    model = TinyViT(drop=0.0).train()
    torch.testing.assert_close(a_map(model, METHODS[0]), a_map(TinyViT(), METHODS[0]))
    assert all(module.training for module in model.modules())


class Normed(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.norm, self.inner = nn.BatchNorm2d(3, **options), TinyViT()
        self.eval()

    def forward(self, x):
        return self.inner(self.norm(x))


def test_statistics_of_the_batch_are_refused_and_buffers_stay() -> None:
    model = Normed()
    model.norm.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explainer = Explainer(xai.load(model, LABELS), METHODS[0])
    with pytest.raises(ModelError, match="statistics from the batch"):
        explainer.method.check_model(images())
    with pytest.raises(ModelError, match=r"statistics from the batch(.|\n)*model\.eval\(\)"):
        a_map(model, "saliency")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(ModelError, match="track_running_stats"):
        a_map(Normed(track_running_stats=False), "saliency")


def test_buffers_written_in_training_mode_are_put_back() -> None:
    class Counting(TinyViT):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            if self.training:
                self.calls += 1
            return super().forward(x)

    model = Counting().train()
    with pytest.raises(ModelError, match=r"buffers \(calls\)"):
        check_repeatable(model, images())
    assert model.calls == 0


def test_names_of_what_is_compiled() -> None:
    assert is_compiled(TinyViT()) == []
    assert is_compiled(one_block(TinyViT())) == ["blocks.1"]
    assert is_compiled(in_place(TinyViT())) == [""]


def test_a_block_that_runs_now_and_then_is_told() -> None:
    ran = []

    def some(block, x, index):
        ran.append(index)
        return x if index == 1 and len(ran) > 2 * DEPTH else block(x)  # after the grid and the probe

    with pytest.raises(XaiError, match="2 image attention calls in this pass, but 3"):
        attr.GradientWeightedAttention(xai.load(TinyViT(some), LABELS), layers=[0]).attribute(images(), 1)
