import pytest
import torch
import vit_zoo
from linear_model import PATCH, Linear, two_classes, white
from torch import nn

from xai import metrics
from xai.core import UsageError
from xai.metrics import greedy_forwards, greedy_order, protocol
from xai.perturb import Stream, make_operator

ZERO = make_operator("constant")


def test_linear_model_is_taken_apart_in_the_order_of_its_weights():
    weights = torch.randperm(16, generator=torch.Generator().manual_seed(0)).reshape(4, 4) - 7.5
    found = greedy_order(Stream(two_classes(weights)), white(), torch.tensor([1]), ZERO)
    assert found.shape == (1, 4, 4)
    assert torch.equal(found[0], weights + 8.5)  # 16 for the largest weight … 1
    other = greedy_order(Stream(two_classes(weights)), white(), torch.tensor([0]), ZERO)
    assert torch.equal(other[0], 8.5 - weights)


def test_every_image_has_its_own_order_and_target():
    weights = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
    model, pixels = Linear(weights), vit_zoo.pixels(3, 16, 16)
    targets = torch.tensor([0, 1, 2])
    together = greedy_order(Stream(model), pixels, targets, ZERO)
    for i in range(3):
        alone = greedy_order(Stream(model, batch_size=3), pixels[i : i + 1], targets[i : i + 1], ZERO)
        assert torch.equal(alone[0], together[i])


def test_blocks_of_patches():
    weights = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    stream = Stream(two_classes(weights))
    found = greedy_order(stream, white(9, 5), torch.tensor([1]), ZERO, groups=3)[0]
    row, col = torch.arange(9) * 3 // 9, torch.arange(5) * 3 // 5
    sums = torch.zeros(3, 3)
    for r in range(9):
        for c in range(5):
            sums[row[r], col[c]] += weights[r, c]
    ranks = sums.flatten().argsort().argsort().reshape(3, 3) + 1.0
    assert torch.equal(found, ranks[row][:, col])


class Pair(nn.Module):
    """Patches 0 and 1 hold the same evidence: losing either is little, losing both is all."""

    def __init__(self):
        super().__init__()
        self.patch_size = PATCH

    def forward(self, pixels):
        patch = nn.functional.avg_pool2d(pixels.mean(1), PATCH).flatten(1).unbind(1)
        own = 5 * torch.maximum(patch[0], patch[1]) + 0.3 * patch[0] + 0.1 * patch[2] + 0.2 * patch[3]
        return torch.stack([torch.zeros_like(own), own], 1)


def test_each_round_looks_at_what_is_left():
    """Patch 1 alone is worth nothing, but everything once 0 has gone."""
    found = greedy_order(Stream(Pair()), white(2, 2), torch.tensor([1]), ZERO, groups=2)[0].flatten()
    assert found.tolist() == [4, 3, 1, 2]


def test_cost_is_as_stated():
    stream = Stream(two_classes(torch.randn(4, 4)))
    greedy_order(stream, white(), torch.tensor([1]), ZERO)
    assert stream.forwards == greedy_forwards(4) == 16 * 17 // 2 - 1
    assert greedy_forwards() == 1224


def test_beats_random_orders_on_a_transformer():
    model, pixels = vit_zoo.build("vit"), vit_zoo.pixels(2)
    targets = metrics.predict(Stream(model), pixels)
    said = protocol("vit-token")
    order = greedy_order(Stream(model), pixels, targets, said.operator)
    maps = torch.rand(20, 2, 4, 4, generator=torch.Generator().manual_seed(3))
    maps[0] = order
    found = metrics.evaluate(model, ["deletion"], pixels, maps, targets, said)["deletion"].value
    assert (found[0] < found[1:]).all()


@pytest.mark.parametrize("groups", [0, 2.5, True])
def test_refuses_groups(groups):
    with pytest.raises(UsageError, match="groups="):
        greedy_order(Stream(two_classes(torch.zeros(4, 4))), white(), torch.tensor([1]), ZERO, groups)
