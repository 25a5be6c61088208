"""Occlusion against Captum's own, a model that is a weighted sum of patches, and explicit masking."""

import pytest
import torch
from captum.attr import Occlusion as CaptumOcclusion
from torch import Tensor, nn
from vit_zoo import build, pixels

from xai.attention import find_layout, mask_patches
from xai.attr import Occlusion
from xai.attr.occlusion import sliding_windows
from xai.core import Margin, ModelError, PatchGrid, UsageError
from xai.perturb import make_operator


class PatchSum(nn.Module):
    """Logit k = Σ_j weight[k, j] · mean of patch j, times what it is further told."""

    patch_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 16, generator=torch.Generator().manual_seed(3)))
        self.largest_batch = self.images = 0
        self.eval()

    def forward(self, x: Tensor, factor: Tensor | None = None) -> Tensor:
        self.images += len(x)
        self.largest_batch = max(self.largest_batch, len(x))
        logits = nn.functional.avg_pool2d(x.mean(1), 8).flatten(1) @ self.weight.T
        return logits if factor is None else logits * factor


def contributions(model: PatchSum, x: Tensor, target: int) -> Tensor:
    means = nn.functional.avg_pool2d(x.mean(1), 8)
    return (model.weight[target].view(4, 4) * means).detach()


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize(("name", "height", "width"), [("clip", 32, 32), ("dinov2", 40, 24)])
def test_equals_captums_occlusion(name: str, height: int, width: int, window: int) -> None:
    model, x = build(name), pixels(2, height, width)
    captum = CaptumOcclusion(model).attribute(
        x,
        sliding_window_shapes=(3, 8 * window, 8 * window),
        strides=(3, 8, 8),
        baselines=x.mean((2, 3), keepdim=True).expand_as(x),
        target=1,
    )
    got = Occlusion(model, window).attribute_patches(x, 1)
    assert got.shape == (2, height // 8, width // 8)
    torch.testing.assert_close(got, captum[:, 0, 4::8, 4::8], rtol=1e-4, atol=1e-5)


def test_single_patches_of_a_patch_sum_get_their_contributions() -> None:
    model, x = PatchSum(), pixels()
    got = Occlusion(model, 1, "constant").attribute_patches(x, 1)
    torch.testing.assert_close(got, contributions(model, x, 1), rtol=1e-4, atol=1e-6)


def test_windows_average_what_they_hold() -> None:
    """The loss of a window on a patch sum is the sum of its contributions; a patch gets its windows' mean."""
    model, x = PatchSum(), pixels(1)
    parts = contributions(model, x, 2)[0]
    expected = torch.zeros(4, 4)
    for row in range(4):
        for col in range(4):
            losses = [
                parts[r : r + 3, c : c + 3].sum()
                for r in range(2)
                for c in range(2)
                if r <= row < r + 3 and c <= col < c + 3
            ]
            expected[row, col] = sum(losses) / len(losses)
    got = Occlusion(model, 3, {"name": "constant", "value": 0.0}).attribute_patches(x, 2)
    torch.testing.assert_close(got[0], expected, rtol=1e-4, atol=1e-6)


def test_a_margin_is_the_difference_of_two_maps() -> None:
    model, x = build("vit"), pixels()
    method = Occlusion(model, 2)
    one, zero, margin = method.attribute_targets(x, [1, 0, Margin(1, 0)])
    torch.testing.assert_close(margin, one - zero, rtol=1e-4, atol=1e-5)


def test_a_window_as_large_as_the_grid_removes_everything() -> None:
    model, x = build("clip"), pixels()
    with torch.no_grad():
        empty = x.mean((2, 3), keepdim=True).expand_as(x)
        loss = (model(x) - model(empty))[:, 1]
    for window in (4, 9):
        got = Occlusion(model, window).attribute_patches(x, 1)
        torch.testing.assert_close(got, loss[:, None, None].expand(2, 4, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "vit", "dinov3", "torch_encoder"])
def test_token_occlusion_hides_one_patch_from_attention(name: str) -> None:
    model, x = build(name), pixels(1)
    grid = find_layout(model).grid(32, 32)
    expected = []
    with torch.no_grad():
        for patch in range(16):
            presence = torch.ones(1, 16, dtype=torch.bool)
            presence[0, patch] = False
            with mask_patches(model, presence, grid):
                hidden = model(x)
            expected.append((model(x) - hidden)[0, 1])
    got = Occlusion(model, 1, make_operator("token")).attribute_patches(x, 1)
    torch.testing.assert_close(got.flatten(), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_token_occlusion_refuses_a_mean_pooled_model() -> None:
    with pytest.raises(ModelError, match='operator="mean"'):
        Occlusion(build("clip_mean_pooled"), operator="token").attribute_patches(pixels(), 1)


@pytest.mark.parametrize("operator", ["mean", "noise"])
def test_the_batch_does_not_matter(operator: str) -> None:
    model, x = build("clip"), pixels(3)
    expected = Occlusion(model, 2, operator).attribute_patches(x, [0, 1, 2])
    for size in (1, 7):
        got = Occlusion(model, 2, operator, internal_batch_size=size).attribute_patches(x, [0, 1, 2])
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    alone = Occlusion(model, 2, operator).attribute_patches(x[1:2], 1)
    torch.testing.assert_close(alone, expected[1:2], rtol=1e-4, atol=1e-5)


def test_cost_is_one_pass_a_window_and_one_for_the_whole_image() -> None:
    model = PatchSum()
    Occlusion(model, 2, internal_batch_size=5).attribute_targets(pixels(3), [0, 1])
    assert model.images == 1 + 3 * (1 + 3 * 3)  # one to find the grid
    assert model.largest_batch == 5


def test_further_arguments_follow_their_image() -> None:
    model, x = PatchSum(), pixels(3)
    factor = torch.tensor([[1.0], [-2.0], [0.5]])
    plain = Occlusion(model, 1).attribute_patches(x, 1)
    got = Occlusion(model, 1, internal_batch_size=7).attribute_patches(x, 1, factor)
    torch.testing.assert_close(got, plain * factor[..., None], rtol=1e-4, atol=1e-6)


def test_windows_cover_every_position_once() -> None:
    windows = sliding_windows(PatchGrid(4, 3), 2)
    assert windows.shape == (6, 4, 3)
    assert (windows.sum((1, 2)) == 4).all()
    assert len({tuple(w.flatten().tolist()) for w in windows}) == 6
    assert windows.sum(0).tolist() == [[1, 2, 1], [2, 4, 2], [2, 4, 2], [1, 2, 1]]


def test_the_operator_is_told_in_plain_values() -> None:
    given = make_operator("constant", value=0.5)
    method = Occlusion(build("clip"), operator=given)
    assert method.operator == {"name": "constant", "value": 0.5, "space": "normalised"}
    again = Occlusion(build("clip"), operator=method.operator)
    assert torch.equal(method.attribute_patches(pixels(), 1), again.attribute_patches(pixels(), 1))


@pytest.mark.parametrize("options", [{"window": 0}, {"internal_batch_size": 0}, {"operator": "men"}])
def test_wrong_options_are_told(options: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Occlusion(build("clip"), **options)
