"""Protocols that change segments: the same as a plain loop over images, maps and segments."""

import pytest
import torch
from linear_model import Linear, two_classes
from torch import Tensor, nn

from xai.core import UsageError
from xai.metrics import PERTURBATION_METRICS, evaluate, protocol, saco
from xai.perturb import Cells, Segmentation, Slic, Stream, image_seeds, operator_of

SEARCH = {"name": "attack", "samples": 3, "iterations": 3, "sigma": 0.01}
FEW = {"base": "tsigos-cells", "operator": SEARCH}


class Uneven(Segmentation):
    """Stripes: 10 segments are meant, an image of mean above 0.5 has 13."""

    name = "uneven"

    @property
    def count(self) -> int:
        return 10

    def divide(self, pixels: Tensor) -> Tensor:
        column = torch.arange(pixels.shape[-1])
        counts = [13 if float(one.mean()) > 0.5 else 10 for one in pixels]
        return torch.stack([(column * n // len(column)).expand(pixels.shape[-2], -1) for n in counts])


@pytest.fixture(scope="module")
def model() -> Linear:
    return Linear(torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


@pytest.fixture(scope="module")
def x() -> Tensor:
    dark = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return dark * torch.tensor([0.5, 1.2]).double().view(-1, 1, 1, 1)


@pytest.fixture(scope="module")
def maps() -> Tensor:
    return torch.randn(2, 2, 24, 24, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def chosen(relevance: Tensor, labels: Tensor, count: int, *, last: bool = False) -> Tensor:
    """(H, W) the `count` segments of the largest (smallest) mean relevance."""
    means = torch.stack([relevance[labels == s].mean() for s in range(int(labels.max()) + 1)])
    order = means.argsort(descending=not last)
    return torch.isin(labels, order[:count])


@pytest.mark.parametrize("segments", [Cells(rows=3, cols=3), Uneven()])
@pytest.mark.parametrize("metric", ["morf", "lerf"])
def test_it_is_the_plain_loop(
    model: nn.Module, x: Tensor, maps: Tensor, segments: Segmentation, metric: str
) -> None:
    said = protocol("tsigos-cells").replace(
        segments=segments,
        operator=operator_of(SEARCH),
        fractions=(1 / 9, 2 / 9, 3 / 9),
        target="predicted",
    )
    found = evaluate(model, [metric], x, maps, protocol=said, batch_size=3)[metric]
    labels, seeds = segments.divide(x), image_seeds(x, 0)
    with torch.no_grad():
        for m in range(2):
            for b in range(2):
                first = int(model(x[b : b + 1]).argmax())
                for k in (1, 2, 3):
                    inside = chosen(maps[m, b], labels[b], k, last=metric == "lerf")
                    changed = said.operator.search(model, x[b : b + 1], inside[None], seeds[b : b + 1])
                    expected = model(changed).softmax(1)[0, first]
                    assert float(found.curve[m, b, k - 1]) == pytest.approx(float(expected), abs=1e-6)
    torch.testing.assert_close(found.value, found.curve.mean(-1))
    assert found.fractions.tolist() == pytest.approx([k / segments.count for k in (1, 2, 3)])


def test_the_drops_of_score_and_accuracy_share_their_states(
    model: nn.Module, x: Tensor, maps: Tensor
) -> None:
    strong = {
        "base": "tsigos-cells",
        "operator": SEARCH | {"step": 600.0, "bound": 3000.0},
        "target": "predicted",
    }
    streams = [Stream(model), Stream(model)]
    evaluate(streams[0], ["comprehensiveness"], x, maps, protocol=strong)
    found = evaluate(streams[1], ["comprehensiveness", "accuracy_drop", "morf"], x, maps, protocol=strong)
    assert streams[0].forwards == streams[1].forwards
    probability = found["morf"]
    drop = found["comprehensiveness"].value
    torch.testing.assert_close(drop, probability.clean - probability.value)
    lost = found["accuracy_drop"].value
    assert float(lost.sum()) > 0
    assert set((3 * lost).round(decimals=6).flatten().tolist()) <= {0, 1, 2, 3}
    assert found["accuracy_drop"].clean.tolist() == [1, 1]
    said = protocol(strong).replace(value="accuracy")
    torch.testing.assert_close(
        lost, evaluate(model, ["comprehensiveness"], x, maps, protocol=said)["comprehensiveness"].value
    )


def test_images_that_the_model_misses_are_not_scored(model: nn.Module, x: Tensor, maps: Tensor) -> None:
    right = model(x).argmax(1)
    targets = torch.stack([right[0], (right[1] + 1) % 3])
    found = evaluate(model, ["comprehensiveness"], x, maps, targets, FEW)["comprehensiveness"].value
    assert found[:, 0].isfinite().all()
    assert found[:, 1].isnan().all()
    every = evaluate(model, ["comprehensiveness"], x, maps, targets, FEW | {"images": "all"})
    assert every["comprehensiveness"].value.isfinite().all()


def test_a_map_that_finds_the_evidence_loses_more_than_one_that_does_not() -> None:
    weights = torch.zeros(7, 7)
    weights[3, 2] = 5.0
    noise = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    pixels = 0.02 + 0.01 * noise
    maps = torch.stack([weights, weights.flip(0, 1)])[:, None].expand(-1, 3, -1, -1)
    said = {"base": "tsigos-cells", "operator": {"name": "attack", "samples": 8, "iterations": 20}}
    asked = ["comprehensiveness", "accuracy_drop"]
    found = evaluate(two_classes(weights), asked, pixels, maps, 1, said)
    assert (found["accuracy_drop"].value[0] == 1).all()
    assert (found["comprehensiveness"].value[0] > found["comprehensiveness"].value[1] + 0.01).all()
    assert (found["accuracy_drop"].value[1] == 0).all()


def test_an_image_or_a_map_alone_gets_the_same(model: nn.Module, x: Tensor, maps: Tensor) -> None:
    said = protocol("tsigos-cells").replace(
        segments=Uneven(), operator=operator_of(SEARCH), tie_draws=2, fractions=(0.1, 0.2, 0.3)
    )
    flat = torch.where(maps > 0, maps, 0.0).round()  # with ties
    together = evaluate(model, ["srg", "saco"], x, flat, 1, said.replace(images="all"))
    alone = evaluate(model, ["srg", "saco"], x[1:], flat[1:, 1:], 1, said.replace(images="all"))
    for name, scores in alone.items():
        torch.testing.assert_close(scores.value, together[name].value[1:, 1:])
        torch.testing.assert_close(scores.tie_fraction, together[name].tie_fraction[1:, 1:])


def test_every_metric_can_be_asked(model: nn.Module, x: Tensor, maps: Tensor) -> None:
    said = FEW | {"operator": SEARCH | {"samples": 1, "iterations": 1}, "images": "all"}
    for name, scores in evaluate(model, list(PERTURBATION_METRICS), x, maps, 1, said).items():
        assert scores.value.isfinite().all(), name


def test_groups_of_segments_with_other_operators_are_sacos() -> None:
    """Cells that are patches, in another order of the same units: the same number."""
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(4))
    pixels = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(5))
    said = {"base": "vit-mean", "unit": "segment", "segments": {"name": "cells", "rows": 6, "cols": 6}}
    relevance = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(6))
    model = two_classes(weights)
    torch.testing.assert_close(
        saco(model, pixels, relevance, 1, said),
        saco(model, pixels, relevance, 1, "vit-mean"),
        atol=1e-6,
        rtol=0,
    )


def test_superpixels_without_scikit_image_are_refused(monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(UsageError, match="scikit-image, which is not installed"):
        Slic().divide(x)


def test_superpixels_are_scikit_images() -> None:
    segmentation = pytest.importorskip("skimage.segmentation")
    x = torch.rand(2, 3, 48, 40, generator=torch.Generator().manual_seed(0)) * 4 - 2
    x[:, :, 20:, :] += 3.0
    found = Slic(segments=12).divide(x)
    for image, labels in zip(x, found, strict=True):
        expected = segmentation.slic(image.permute(1, 2, 0).double().numpy(), n_segments=12, start_label=0)
        assert int(labels.min()) == 0
        assert set(labels.unique().tolist()) == set(range(int(labels.max()) + 1))
        pairs = {(int(a), int(b)) for a, b in zip(labels.flatten(), expected.flatten(), strict=True)}
        assert len(pairs) == int(labels.max()) + 1  # the same borders


def test_cells_are_those_of_a_grid() -> None:
    labels = Cells(rows=2, cols=3).divide(torch.zeros(1, 3, 4, 6))[0]
    assert labels.tolist() == [[0, 0, 1, 1, 2, 2]] * 2 + [[3, 3, 4, 4, 5, 5]] * 2
    with pytest.raises(UsageError, match="finer than"):
        Cells().divide(torch.zeros(1, 3, 4, 6))
