"""Where the cells of a feature map lie: found in tensors of every layout, also where shapes leave it open."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vit_zoo import pixels

from xai.attr import GradCAM, HiResCAM
from xai.attr.cell_layout import layouts_of
from xai.attr.feature_map import find_feature_map
from xai.attr.graph_cuts import edge_of, edges_on_every_path
from xai.core import ModelError

CELLS = 8  # as many rows as columns as channels: no shape tells them apart


class Arranged(nn.Module):
    """A CNN of 8 channels on 8×8 cells, whose map is passed on in some arrangement."""

    def __init__(self, arrange, pool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, CELLS, 3, padding=1))
        self.map, self.arrange, self.pool = nn.Identity(), arrange, pool
        self.special = nn.Parameter(torch.randn(3, CELLS))
        self.weights = nn.Parameter(torch.randn(CELLS))
        self.head = nn.Linear(CELLS, 3)

    def forward(self, x: Tensor) -> Tensor:
        arranged = self.map(self.arrange(self, self.conv(x)).clone())
        return self.head(self.pool(arranged).tanh())


def tokens(module: Arranged, x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def beside(module: Arranged, x: Tensor) -> Tensor:
    return module.special.expand(len(x), 3, CELLS)


ARRANGEMENTS = {
    "channels first": (lambda _, x: x, lambda x: x.mean((2, 3))),
    "channels last": (lambda _, x: x.permute(0, 2, 3, 1), lambda x: x.mean((1, 2))),
    "columns first": (lambda _, x: x.transpose(2, 3), lambda x: x.mean((2, 3))),
    "columns and channels last": (lambda _, x: x.permute(0, 3, 2, 1), lambda x: x.mean((1, 2))),
    "tokens": (tokens, lambda x: x.mean(1)),
    "tokens by column": (lambda m, x: tokens(m, x.transpose(2, 3)), lambda x: x.mean(1)),
    "3 tokens before": (lambda m, x: torch.cat([beside(m, x), tokens(m, x)], 1), lambda x: x.mean(1)),
    "3 tokens behind": (lambda m, x: torch.cat([tokens(m, x), beside(m, x)], 1), lambda x: x.mean(1)),
    "sequence first": (lambda m, x: tokens(m, x).transpose(0, 1), lambda x: x.mean(0)),
    "sequence first, 3 before": (
        lambda m, x: torch.cat([beside(m, x), tokens(m, x)], 1).transpose(0, 1),
        lambda x: x.mean(0),
    ),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_every_arrangement_gives_the_same_map(name: str) -> None:
    """The gradient differs by where special tokens are averaged in, by a factor alone; HiResCAM is exact."""
    model = Arranged(*ARRANGEMENTS[name]).eval()
    x = pixels(3)
    found = find_feature_map(model, x[:1], name="map")
    assert found.size == (CELLS, CELLS)
    arranged = model.arrange(model, model.conv(x))
    expected = model.conv(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found.cells(arranged), expected.detach())
    leaf = model.conv(x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        model.head(model.pool(model.arrange(model, leaf)).tanh())[:, 1].sum(), leaf
    )
    signed = (gradient * leaf).sum(1).detach()
    torch.testing.assert_close(HiResCAM(model, layer="map").attribute_native(x, 1), signed)


@pytest.mark.parametrize("name", ["channels first", "sequence first"])
def test_as_many_images_as_cells(name: str) -> None:
    """The layout is found with one image, so that a batch as large as an axis misleads nobody."""
    model = Arranged(*ARRANGEMENTS[name]).eval()
    x = pixels(CELLS * CELLS)
    together = GradCAM(model, layer="map").attribute_native(x, 1)
    torch.testing.assert_close(together[:2], GradCAM(model, layer="map").attribute_native(x[:2], 1))


@pytest.mark.parametrize(("height", "width"), [(32, 64), (64, 32), (32, 40), (36, 40)])
@pytest.mark.parametrize("name", ["channels first", "channels last", "tokens", "3 tokens before"])
def test_images_that_are_not_square(height: int, width: int, name: str) -> None:
    model = Arranged(*ARRANGEMENTS[name]).eval()
    x = pixels(2, height, width)
    found = find_feature_map(model, x[:1], name="map")
    assert found.size == (height // 4, width // 4)
    features = model.conv(x)
    torch.testing.assert_close(
        found.cells(model.arrange(model, features)), features.flatten(2).transpose(1, 2).detach()
    )


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((1, 197, 768), (224, 224), (14, 14, {1, 0})),
        ((1, 201, 768), (224, 224), (14, 14, {5, 0})),
        ((1, 198, 192), (224, 224), (14, 14, {2, 0})),
        ((1, 49, 768), (224, 224), (7, 7, {0})),
        ((1, 257, 1024), (224, 224), (16, 16, {1, 0})),
        ((1, 99, 64), (112, 224), (7, 14, {1, 0})),
        ((1, 98, 64), (224, 112), (14, 7, {0})),
        ((197, 1, 768), (224, 224), (14, 14, {1, 0})),
        ((1, 2048, 7, 7), (224, 224), (7, 7, {0})),
        ((1, 7, 7, 768), (224, 224), (7, 7, {0})),
        ((1, 64, 8, 17), (299, 600), (8, 17, {0})),
    ],
)
def test_what_a_shape_allows(
    shape: tuple[int, ...], size: tuple[int, int], expected: tuple[int, int, set[int]]
) -> None:
    found = layouts_of(shape, 1, size)
    grids = {(one.rows, one.cols) for one in found}
    assert grids <= {expected[:2], expected[1::-1]}
    assert expected[:2] in grids
    assert {one.start for one in found} == expected[2]


@pytest.mark.parametrize(
    "shape",
    [(1, 768), (1, 768, 1, 1), (1, 1, 768), (1, 512, 64), (4, 49, 96), (1, 3, 4, 49, 49), (1, 768, 1, 7)],
)
def test_shapes_that_are_no_map(shape: tuple[int, ...]) -> None:
    assert layouts_of(shape, 1, (224, 224)) == []


def test_cells_out_of_order_are_refused() -> None:
    class Shuffled(Arranged):
        def __init__(self) -> None:
            super().__init__(lambda m, x: tokens(m, x)[:, m.order], lambda x: x.mean(1))
            self.order = torch.arange(CELLS * CELLS).view(2, 4, 2, 4).transpose(1, 2).flatten()  # by window

    with pytest.raises(ModelError, match="do not follow the places of the image"):
        find_feature_map(Shuffled().eval(), pixels(1), name="map")


def test_what_is_written_over_after_the_map_is_seen_as_it_was() -> None:
    """As in torchvision's DenseNet: the ReLU behind the features is in place."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.features, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.features(x), inplace=True).mean((2, 3)))

    model, x = InPlace().eval(), pixels()
    features = model.features(x)
    (gradient,) = torch.autograd.grad(model.head(F.relu(features).mean((2, 3)))[:, 1].sum(), features)
    assert (features < 0).any()
    torch.testing.assert_close(HiResCAM(model).attribute_native(x, 1), (features * gradient).sum(1).detach())


def test_a_module_that_runs_several_times_counts_by_the_run_that_is_meant() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem, self.block = nn.Conv2d(3, 6, 4, 4), nn.Conv2d(6, 6, 3, padding=1)
            self.head = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for _ in range(3):
                x = self.block(x)
            return self.head(x.tanh().mean((2, 3)))

    model, x = Shared().eval(), pixels()
    found = find_feature_map(model, x[:1])
    assert (found.place.name, found.place.call) == ("block", 2)
    features = model.block(model.block(model.block(model.stem(x))))
    (gradient,) = torch.autograd.grad(model.head(features.tanh().mean((2, 3)))[:, 1].sum(), features)
    expected = (features * gradient).sum(1).detach()
    torch.testing.assert_close(HiResCAM(model).attribute_native(x, 1), expected)
    torch.testing.assert_close(HiResCAM(model, layer="block").attribute_native(x, 1), expected)


def test_a_map_beside_which_the_answer_depends_on_the_image_is_none() -> None:
    class TwoBranches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 6, 2, 2)
            self.one, self.other = nn.Conv2d(6, 6, 2, 2), nn.Conv2d(6, 6, 4, 4)
            self.head = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(torch.cat([self.one(x).mean((2, 3)), self.other(x).amax((2, 3))], 1))

    found = find_feature_map(TwoBranches().eval(), pixels(1))
    assert (found.name, found.size) == ("stem", (16, 16))


def test_edges_that_all_paths_lead_through() -> None:
    leaf, other = (torch.ones(3, requires_grad=True) for _ in range(2))
    first = leaf * 2
    left, right = first.sin(), first.cos()
    joined = left + right
    halves = joined.unbind(0)  # one node, of which two outputs are used
    output = (halves[0] + halves[1]) * other.exp().sum()
    places = edges_on_every_path(output, leaf)
    inside = [edge_of(one) in places for one in (output, halves[0], joined, left, right, first)]
    assert inside == [True, False, True, False, False, True]
    assert places[edge_of(joined)] < places[edge_of(first)]
    skipping = joined.sum() + leaf.sum()
    places = edges_on_every_path(skipping, leaf)
    assert edge_of(joined) not in places
    assert edge_of(first) not in places
    assert edges_on_every_path(output, torch.ones(1, requires_grad=True)) == {}
