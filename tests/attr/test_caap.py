"""Activation patching against a plain loop over patches and blocks."""

import pytest
import torch
from torch import Tensor, nn
from vit_zoo import LAYERS, build, pixels

from xai.attr import CausalActivationPatching
from xai.core import Margin, UsageError


def blocks_of(name: str, model: nn.Module) -> tuple[object, nn.ModuleList, object]:
    """Pixels to tokens, the blocks, and tokens to logits."""
    if name == "vit":
        tower = model.model.vit
        return tower.embeddings, tower.layers, lambda t: model.model.classifier(tower.layernorm(t)[:, 0])

    def embed(x: Tensor) -> Tensor:
        tokens = model.conv_proj(x).flatten(2).transpose(1, 2)
        return torch.cat([model.class_token.expand(len(x), -1, -1), tokens], dim=1)

    return embed, model.encoder.layers, lambda t: model.head(t[:, 0])


@torch.no_grad()
def loop(name: str, model: nn.Module, x: Tensor, neutral: Tensor, layers: list[int], target: int) -> Tensor:
    embed, blocks, read = blocks_of(name, model)

    def run(image: Tensor, patch: int | None = None, source: list[Tensor] | None = None) -> list[Tensor]:
        tokens, outputs = embed(image), []
        for i, block in enumerate(blocks):
            tokens = block(tokens)
            if source is not None and i in layers:
                tokens[:, 1 + patch] = source[i][:, 1 + patch]
            outputs.append(tokens.clone())
        return outputs

    found = []
    for image, plain in zip(x.split(1), neutral.split(1), strict=True):
        source, before = run(image), read(run(plain)[-1])[0, target]
        found.append([read(run(plain, j, source)[-1])[0, target] - before for j in range(16)])
    return torch.tensor(found, dtype=x.dtype).view(-1, 4, 4)


@pytest.mark.parametrize("name", ["vit", "torch_encoder"])
@pytest.mark.parametrize("layers", [None, [2], [1, 3], [LAYERS - 2, LAYERS - 1], [0]])
def test_equals_a_loop_over_patches(name: str, layers: list[int] | None) -> None:
    model, x = build(name).double(), pixels(3).double()
    chosen = [1, 2, 3, 4] if layers is None else layers
    expected = loop(name, model, x, torch.zeros_like(x), chosen, 1)
    for batch in (5, 64):  # a pass holds patches of several images
        method = CausalActivationPatching(model, layers=layers, internal_batch_size=batch)
        torch.testing.assert_close(method.attribute_patches(x, 1), expected)


def test_the_neutral_image_is_an_operators() -> None:
    model, x = build("vit").double(), pixels().double()
    neutral = x.mean((2, 3), keepdim=True).expand_as(x)
    got = CausalActivationPatching(model, operator="mean").attribute_patches(x, 1)
    torch.testing.assert_close(got, loop("vit", model, x, neutral, [1, 2, 3, 4], 1))


def test_of_the_neutral_image_nothing_changes() -> None:
    maps = CausalActivationPatching(build("vit").double()).attribute_targets(
        torch.zeros(2, 3, 32, 32, dtype=torch.float64), [0, Margin(1)]
    )
    assert maps.abs().max() < 1e-10


def test_passes_are_few_and_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks below the range run for the two images only, not for every patch."""
    model, ran = build("vit"), [0] * LAYERS
    method = CausalActivationPatching(model, internal_batch_size=64)
    method.attribute_patches(pixels(), 1)  # found out about the model
    for i, block in enumerate(model.model.vit.layers):

        def counted(*args: object, i: int = i, block: nn.Module = block, **kwargs: object) -> Tensor:
            ran[i] += len(args[0])
            return type(block).forward(block, *args, **kwargs)

        monkeypatch.setattr(block, "forward", counted)
    method.attribute_patches(pixels(), 1)
    assert ran[0] == ran[1] == 2 * 2
    assert ran[2] == ran[4] == 2 * 2 + 2 * 16


def test_wrong_layers_are_told() -> None:
    with pytest.raises(UsageError, match="6 attention layers"):
        CausalActivationPatching(build("vit"), layers=[9]).attribute_patches(pixels(), 1)
