"""The last layer for the read-out only: the same answers where the model allows it, refused elsewhere."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import torch
from maskable import MASKABLE, made, some
from plain_vit import Block, TinyViT, images
from torch import Tensor, nn
from vit_zoo import ZOO, Logits, build, pixels

from xai.attention import (
    ReadoutLayer,
    drop_patches,
    entry_of,
    grid_of,
    mask_patches,
    probe,
    readout_layer,
    readout_only,
    record_attention,
)

SHORT = set(MASKABLE)
WHOLE = {"clip_mean_pooled", "dinov2", "dinov2_registers", "siglip", "siglip_pooling_head", "beit"}


def apart(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", sorted(SHORT))
def test_the_same_answers(name: str) -> None:
    model, x = made(name), pixels(3, seed=7)
    layer, grid, present = readout_layer(model, x), grid_of(model, x), some()
    assert layer.block is not None
    assert layer.reason == ""
    entry = entry_of(model, x, grid)

    def answers() -> list[Tensor]:
        found = [model(x), model(x[:1])]
        with mask_patches(model, present, grid, images=3):
            found.append(model(x))
        with mask_patches(model, torch.rand(3, 6, 16, generator=torch.Generator().manual_seed(2)), grid):
            found.append(model(x))
        if entry is not None:
            with drop_patches(model, entry, present, grid):
                found.append(model(x))
        return found

    with torch.no_grad():
        whole = answers()
        with readout_only(model, layer):
            short = answers()
    assert len(whole) == (5 if name not in ("dinov3", "beit_class_token") else 4)
    assert max(map(apart, short, whole)) < 1e-5


@pytest.mark.parametrize("name", ["clip", "dinov3", "beit_class_token", "torch_encoder"])
def test_the_same_record_and_gradients(name: str) -> None:
    model, x = made(name), pixels(2)
    grid, layer = grid_of(model, x), readout_layer(model, x)

    def record(layer: ReadoutLayer) -> list[list[Tensor]]:
        with (
            record_attention(model, tokens=grid.tokens, images=2, calls=6) as recording,
            readout_only(model, layer),
        ):
            logits = model(x)
        calls = [recording.calls[index] for index in range(6)]
        gradients = torch.autograd.grad(logits[:, 1].sum(), [call.output for call in calls])
        return [
            [call.query, call.key, call.value, call.output.detach(), slope]
            for call, slope in zip(calls, gradients, strict=True)
        ]

    whole, short = record(ReadoutLayer(None)), record(layer)
    for index in range(6):
        for expected, got in zip(whole[index], short[index], strict=True):
            torch.testing.assert_close(got, expected[:, :, : got.shape[2]], atol=1e-6, rtol=1e-4)
    query, key = short[-1][:2]
    assert (query.shape[2], key.shape[2]) == (1, grid.tokens)
    assert not whole[-1][-1][:, :, 1:].any()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_models_that_read_more_are_left_whole(name: str) -> None:
    model, x = build(name), pixels(1)
    layer = readout_layer(model, x)
    assert layer.block is None
    assert "reads more than leading tokens" in layer.reason
    with torch.no_grad():
        plain = model(x)
        with readout_only(model, layer):
            assert torch.equal(model(x), plain)


def test_every_model_of_the_zoo_is_spoken_of() -> None:
    assert set(ZOO) <= SHORT | WHOLE


class ReadsBesides(nn.Module):
    """Reads what no gradient tells of: the length of the patch tokens, or how many there are."""

    def __init__(self, read: Callable[[Tensor], Any]):
        super().__init__()
        self.vit, self.read = TinyViT(), read
        self.patch_size, self.num_prefix_tokens, self.img_size = 8, 1, 32

    def forward(self, x: Tensor) -> Tensor:
        x = self.vit.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.vit.cls.expand(x.shape[0], -1, -1), x], 1)
        for block in self.vit.blocks:
            x = block(x)
        return self.vit.head(x[:, 0]) + self.read(x)


class OddError(Exception):
    """Of a kind of its own."""


def insist(x: Tensor) -> float:
    if x.shape[1] != 17:
        raise OddError("seventeen tokens, please")
    return 0.0


@pytest.mark.parametrize(
    "read",
    [
        insist,
        lambda x: 0.0 if x.shape[1] == 17 else float("nan"),
        lambda x: x.detach()[:, 1:].norm(dim=-1).sum(1, keepdim=True),
        lambda x: x.new_tensor(float(x.shape[1])),
        lambda x: 0 * x.view(len(x), 17, 16).mean((1, 2))[:, None].detach(),
    ],
)
def test_the_trial_finds_out_what_no_gradient_tells(read: Callable[[Tensor], Any]) -> None:
    model = ReadsBesides(read).eval()
    seen = probe(model, images(1), (), grid_of(model, images(1)))
    assert seen.rows == (0,)
    assert not seen.reads_patches
    layer = readout_layer(model, images(1))
    assert layer.block is None
    assert layer.reason


class MixesTokens(Block):
    """Centres its output over the tokens: the class token needs the others after attention."""

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        return x - x.detach().mean(1, keepdim=True)


def test_a_block_that_mixes_tokens_past_attention_is_left_whole() -> None:
    model = TinyViT()
    model.blocks[-1] = MixesTokens().eval()
    layer = readout_layer(model, images(1))
    assert layer.block is None
    assert "would differ by" in layer.reason


def test_one_layer_and_shared_layers_are_left_whole() -> None:
    model = TinyViT()
    shared = TinyViT()
    model.blocks = model.blocks[:1]
    assert "single attention layer" in readout_layer(model, images(1)).reason
    shared.blocks = nn.ModuleList([shared.blocks[0]] * 3)
    assert "No module" in readout_layer(shared, images(1)).reason


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model, x = build("clip").to(dtype), pixels(2).to(dtype)
    layer = readout_layer(model, x)
    assert layer.block == "model.encoder.layers.5"
    with torch.no_grad(), readout_only(model, layer):
        short = model(x)
    with torch.no_grad():
        assert apart(short, model(x)) < 0.05


def test_it_is_found_once_and_again_when_the_model_changes() -> None:
    model, x, passes = build("clip"), pixels(2), []
    model.register_forward_hook(lambda *_: passes.append(1))
    first = readout_layer(model, x)
    count = len(passes)
    assert readout_layer(model, pixels(1)) is first
    assert len(passes) == count
    with torch.no_grad():
        model.head.weight.mul_(2)
    assert readout_layer(model, x) == first
    assert len(passes) > count


def test_random_numbers_and_grad_mode_are_as_before() -> None:
    model, state = build("vit"), torch.get_rng_state()
    with torch.inference_mode():
        x = pixels(1)
        assert readout_layer(model, x).block is not None
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_nothing_is_left_behind(error: type[BaseException]) -> None:
    model, x = build("clip"), pixels(2)
    before = [(dict(m._forward_hooks), dict(m._forward_pre_hooks), set(vars(m))) for m in model.modules()]
    layer = readout_layer(model, x)
    plain = model(x)

    def fail(*_: object) -> None:
        raise error

    handle = model.model.encoder.layers[5].mlp.register_forward_hook(fail)
    grid = grid_of(model, x)
    with pytest.raises(error), readout_only(model, layer), mask_patches(model, some(2), grid):
        model(x)
    handle.remove()
    with pytest.raises(error), readout_only(model, layer):
        raise error
    assert torch.overrides._get_current_function_mode_stack() == []
    assert [
        (dict(m._forward_hooks), dict(m._forward_pre_hooks), set(vars(m))) for m in model.modules()
    ] == before
    assert torch.equal(model(x), plain)


def test_other_threads_and_blocks_within_one_another_are_not_concerned() -> None:
    model, x = build("clip"), pixels(2)
    layer, shapes = readout_layer(model, x), []
    block = model.get_submodule(str(layer.block))
    block.register_forward_hook(lambda _m, _i, output: shapes.append(output.shape[1]))
    with torch.no_grad(), readout_only(model, layer), readout_only(model, layer):
        inside = model(x)
        thread = Thread(target=lambda: model(x))
        thread.start()
        thread.join()
    assert shapes == [1, 17]
    with torch.no_grad():
        assert apart(inside, model(x)) < 1e-5


def test_two_leading_tokens_in_a_tower_of_tokens_first() -> None:
    """The classifier reads two prefix tokens, of a model whose tokens come before its batch."""

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2)
            self.mlp = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))

        def forward(self, tokens: Tensor) -> Tensor:
            normed = self.norm(tokens)
            tokens = tokens + self.attention(normed, normed, normed)[0]
            return tokens + self.mlp(tokens)

    class Distilled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.patch_size = 8
            self.embed = nn.Conv2d(3, 16, 8, 8)
            self.cls_token = nn.Parameter(torch.randn(1, 1, 16))
            self.dist_token = nn.Parameter(torch.randn(1, 1, 16))
            self.layers, self.head = nn.Sequential(Layer(), Layer(), Layer()), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).permute(2, 0, 1)
            both = torch.cat([self.cls_token, self.dist_token]).expand(-1, len(x), -1)
            tokens = self.layers(torch.cat([both, tokens]))
            return self.head(tokens[0]) + self.head(tokens[1])

    model, x = Distilled().eval(), pixels(3)
    layer = readout_layer(model, x)
    assert (layer.block, layer.axis, layer.rows) == ("layers.2", 0, 2)
    with torch.no_grad():
        whole = model(x)
        with readout_only(model, layer):
            assert apart(model(x), whole) < 1e-5


def test_further_arguments() -> None:
    model, x = Logits(build("clip").model, nn.Linear(32, 3)).eval(), pixels(2)
    bias = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    layer = readout_layer(model, x, (bias,))
    assert layer.block is not None
    with torch.no_grad():
        whole = model(x, bias)
        with readout_only(model, layer):
            assert apart(model(x, bias), whole) < 1e-5
