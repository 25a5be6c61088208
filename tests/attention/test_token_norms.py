"""Lengths of tokens, against the hidden states that transformers hands out, in a pass that stays as it is."""

import pytest
import torch
from sequence_first import SequenceFirst
from torch import nn
from vit_zoo import ZOO, build, pixels

from xai.attention import grid_of, last_token_norms


@pytest.mark.parametrize("name", ZOO)
def test_are_those_of_the_tokens_that_enter_the_last_block(name: str) -> None:
    model, x = build(name), pixels()
    grid = grid_of(model, x)
    with torch.no_grad():
        plain = model(x)
        with last_token_norms(model, grid, 2) as norms:
            logits = model(x)
    assert torch.equal(logits, plain)
    assert all("forward" not in vars(module) for module in model.modules())
    entered: list[torch.Tensor] = []
    last = model.encoder.layers[-1] if name == "torch_encoder" else blocks_of(model)[-1]
    handle = last.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    with torch.no_grad():
        model(x)
    handle.remove()
    expected = entered[0][:, grid.prefix :].norm(dim=-1).unflatten(1, (grid.rows, grid.cols))
    torch.testing.assert_close(norms[0], expected)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The list that the classes of transformers call layer, layers or blocks."""
    return next(m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == 6)


def test_tokens_may_come_first() -> None:
    model, x = SequenceFirst().eval(), pixels(3)
    with torch.no_grad(), last_token_norms(model, grid_of(model, x), 3) as norms:
        model(x)
    assert norms[0].shape == (3, 4, 4)


def test_models_without_a_row_of_tokens_have_none() -> None:
    model = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
    with last_token_norms(model, grid_of(model, pixels()), 2) as norms:
        model(pixels())
    assert norms == []


class Mirrored(nn.Module):
    """Gives its tower each image twice."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size, self.inner = 8, build("vit")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(torch.cat([x, x.flip(-1)])).view(2, len(x), -1).mean(0)


def test_a_tower_that_is_given_other_images_has_none() -> None:
    model = Mirrored()
    with last_token_norms(model, grid_of(model.inner, pixels()), 2) as norms:
        model(pixels())
    assert norms == []


def test_the_model_is_as_before_after_an_exception() -> None:
    model = build("vit")
    kept = blocks_of(model)[-1].forward = blocks_of(model)[-1].forward  # as some libraries wrap it
    with pytest.raises(ValueError), last_token_norms(model, grid_of(model, pixels()), 1):
        model(torch.zeros(1, 4, 32, 32))
    assert blocks_of(model)[-1].forward is kept
