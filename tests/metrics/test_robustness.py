"""Maps beside those of degraded pictures, by hand, where the answer stays; and maps of other images."""

import pytest
import tiny_detector
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn

from xai import attr
from xai.core import Margin, ProblemType, UsageError
from xai.data.degradations import levels
from xai.metrics import METRICS, robustness, unrelated_agreement
from xai.metrics.robustness import kept_answers, robustness_of_maps
from xai.stats.stability import map_change


@pytest.fixture(scope="module")
def detector():
    return tiny_detector.classifier(layers=1)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [tiny_detector.photo(seed) for seed in range(3)]


def seen(detector, pictures, change=lambda image: image) -> Tensor:
    return torch.stack([detector.preprocess(change(one)) for one in pictures])


@pytest.mark.parametrize("kind", ["jpeg", "resize", "noise"])
def test_it_is_the_plain_loop(detector, pictures, kind) -> None:
    method = attr.create("gradient_weighted_attention", detector)
    pixels = seen(detector, pictures)
    worse = [seen(detector, pictures, level.apply) for level in levels(kind)]
    found = robustness(detector, method.attribute_patches, pixels, worse, batch_size=2)
    for b in range(3):
        target = int(detector(pixels)[b].argmax())
        clean = method.attribute_patches(pixels[b : b + 1], target)[0]
        for r, other in enumerate(worse):
            after = method.attribute_patches(other[b : b + 1], target)[0]
            rank = spearmanr(clean.flatten(), after.flatten()).statistic
            assert float(found.spearman[b, r]) == pytest.approx(rank, abs=1e-3)
            (change,) = map_change(clean.numpy(), after[None].numpy())  # what the command says of images
            assert float(found.overlap[b, r]) == pytest.approx(change[1], abs=1e-9)
            assert bool(found.kept[b, r]) == (int(detector(other[b : b + 1]).argmax()) == target)


def test_only_levels_that_keep_the_answer_count() -> None:
    clean = torch.arange(12.0).reshape(1, 3, 4).repeat(3, 1, 1)
    maps = [clean, -clean]
    kept = torch.tensor([[True, True], [True, False], [False, False]])
    value = robustness_of_maps(clean, maps, kept).value
    assert value[:2].tolist() == [0.0, 1.0]
    assert value[2].isnan()
    several = robustness_of_maps(
        clean.expand(2, -1, -1, -1), [one.expand(2, -1, -1, -1) for one in maps], kept
    )
    torch.testing.assert_close(several.value[1, :2], value[:2])


def test_answers_of_independent_labels_are_kept_where_the_likeliest_is() -> None:
    class Labels(nn.Module):
        problem_type = ProblemType.MULTI_LABEL

    clean = torch.tensor([[2.0, 1.0], [-1.0, -2.0]])
    after = [torch.tensor([[0.5, 3.0], [0.5, 0.0]]), torch.tensor([[-0.5, 3.0], [-3.0, 4.0]])]
    assert kept_answers(Labels(), clean, after).tolist() == [[True, False], [False, True]]
    assert kept_answers(nn.Identity(), clean, after).tolist() == [[False, False], [True, False]]


def test_what_ignores_the_image_is_perfectly_robust_and_as_like_for_any_other(detector, pictures) -> None:
    centre = attr.create("center_prior", detector)
    pixels = seen(detector, pictures)
    worse = [seen(detector, pictures, levels("noise")[0].apply)]
    found = robustness(detector, centre.attribute_patches, pixels, worse, Margin(1))
    assert found.spearman.tolist() == [[1.0]] * 3
    assert found.overlap.tolist() == [[1.0]] * 3
    assert unrelated_agreement(centre.attribute_patches(pixels, 1)).tolist() == [1.0] * 3


def test_maps_of_other_groups_are_the_others() -> None:
    maps = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(0))
    rank = [[spearmanr(a.flatten(), b.flatten()).statistic for b in maps] for a in maps]
    found = unrelated_agreement(maps, ["a", "a", "b", "c"])
    assert found.tolist() == pytest.approx([
        (rank[0][2] + rank[0][3]) / 2, (rank[1][2] + rank[1][3]) / 2,
        (rank[2][0] + rank[2][1] + rank[2][3]) / 3, (rank[3][0] + rank[3][1] + rank[3][2]) / 3,
    ])  # fmt: skip
    assert unrelated_agreement(maps, ["a"] * 4).isnan().all()
    with pytest.raises(UsageError, match="4 maps need 4 groups; got 2"):
        unrelated_agreement(maps, ["a", "b"])


def test_every_kind_is_a_metric() -> None:
    for kind in ("jpeg", "resize", "noise"):
        info = METRICS[f"robustness_{kind}"]
        assert info.higher_is_better and not info.against_random and info.function is robustness


@pytest.mark.parametrize("degraded", [[], [torch.zeros(2, 3, 8, 8)]])
def test_refuses_images_that_do_not_belong_together(detector, degraded) -> None:
    with pytest.raises(UsageError, match="must be of one shape"):
        robustness(detector, lambda x, t: x.mean(1), torch.zeros(1, 3, 8, 8), degraded, 0)
