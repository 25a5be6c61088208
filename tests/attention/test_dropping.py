"""Dropping patches for good gives the answer of masking them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from maskable import MASKABLE, hidden, made, some
from vit_zoo import build, pixels

from xai.attention import drop_patches, entry_of, grid_of, mask_patches


@pytest.mark.parametrize("name", MASKABLE)
def test_dropping_is_masking(name: str) -> None:
    model, x = made(name), pixels(3)
    grid = grid_of(model, x)
    entry = entry_of(model, x, grid)
    # rotary and relative positions do not follow the tokens: found out, and masked instead
    assert (entry is None) == (name in {"dinov3", "beit_class_token"})
    if entry is None:
        return
    lengths: list[int] = []
    hook = entry.register_forward_hook(lambda module, args, output: lengths.append(hidden(output).shape[1]))
    unequal, equal = some(), torch.arange(16).expand(3, -1) % 4 == torch.arange(3)[:, None]
    none, whole = torch.zeros(3, 16, dtype=torch.bool), torch.ones(3, 16, dtype=torch.bool)
    for present in (unequal, equal, none, whole):
        with torch.no_grad():
            with mask_patches(model, present, grid):
                masked = model(x)
            with drop_patches(model, entry, present, grid):
                torch.testing.assert_close(model(x), masked, atol=1e-5, rtol=1e-5)
        assert lengths[-1] == grid.prefix + max(1, int(present.sum(1).max()))
    hook.remove()
    with torch.no_grad():  # the model is as it was
        torch.testing.assert_close(model(x), masked, atol=1e-5, rtol=1e-5)


def test_a_head_without_weight_for_patches_answers_when_all_are_dropped() -> None:
    """DINOv2's head takes the mean of the patches even where it gives it no weight: 0 × NaN is NaN."""
    model, x = build("dinov2"), pixels(2)
    with torch.no_grad():
        model.model.classifier.weight[:, model.model.config.hidden_size :] = 0
        grid, nothing = grid_of(model, x), torch.zeros(2, 16, dtype=torch.bool)
        with mask_patches(model, nothing, grid):
            expected = model(x)
        entry = entry_of(model, x, grid)
        assert entry is not None
        with drop_patches(model, entry, nothing, grid):
            torch.testing.assert_close(model(x), expected)


def test_dropping_does_not_concern_other_threads() -> None:
    model, x = build("clip"), pixels(2)
    grid = grid_of(model, x)
    entry = entry_of(model, x, grid)
    assert entry is not None
    with torch.no_grad():
        whole = model(x)
        with drop_patches(model, entry, some(2), grid), ThreadPoolExecutor(1) as other:
            elsewhere = other.submit(torch.no_grad()(model), x).result()
            assert (model(x) - whole).abs().max() > 1e-2
    torch.testing.assert_close(elsewhere, whole)
