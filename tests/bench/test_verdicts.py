"""The benchmark as a whole can say no: noise is not found, and a true map is."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xai.core import PatchGrid, derive_seed
from xai.metrics import evaluate
from xai.stats import Outcome, analyse

ROWS, PATCH, IMAGES, DRAWS = 6, 2, 24, 3


class WeightedPatches(nn.Module):
    """Two logits whose difference is a known weighted sum of patch means."""

    grid = PatchGrid(ROWS, ROWS)
    input_size = (ROWS * PATCH, ROWS * PATCH)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weights = nn.Parameter(torch.randn(ROWS, ROWS, generator=generator), requires_grad=False)

    def patches(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels, PATCH).mean(1)

    def forward(self, pixels: Tensor) -> Tensor:
        margin = (self.patches(pixels) * self.weights).sum((1, 2))
        return torch.stack([-margin / 2, margin / 2], dim=1)


def scores(model: WeightedPatches, repeat: int, metric: str) -> np.ndarray:
    """(images, maps): the true contributions, noise, and the random control's draws."""
    generator = torch.Generator().manual_seed(derive_seed(repeat, "verdicts"))
    pixels = torch.randn(IMAGES, 3, ROWS * PATCH, ROWS * PATCH, generator=generator)
    removed = pixels.mean((1, 2, 3))[:, None, None]  # what the mean operator puts in place, about
    truth = (model.patches(pixels) - removed) * model.weights
    sign = model(pixels).diff(dim=1).sign()[:, :, None]  # for the predicted class
    noise = torch.rand(1 + DRAWS, IMAGES, ROWS, ROWS, generator=generator)
    relevance = torch.cat([(truth * sign)[None], noise])
    found = evaluate(model, [metric], pixels, relevance, None, "vit-mean", batch_size=512, seed=repeat)
    return found[metric].value.numpy().T


@pytest.mark.parametrize("metric", ["srg", "saco"])
def test_noise_is_not_found_in_100_repeats_and_the_true_map_in_all(metric: str) -> None:
    model, passed, planted = WeightedPatches(), 0, 0
    for repeat in range(100):
        values = scores(model, repeat, metric)
        table = np.column_stack([values[:, 0], values[:, 1], values[:, 2:].mean(1)])
        analysis = analyse(
            table, ["truth", "noise", "random"], reference="random", reference_draws=values[:, 2:],
            controls=["random"], resamples=99, seed=repeat,
        )  # fmt: skip
        passed += analysis.method("noise").verdict.outcome is Outcome.UNCLEAR
        planted += analysis.method("truth").verdict.outcome is Outcome.BETTER
    assert passed >= 90
    assert planted == 100
