"""Random regions: contiguous, of any size, where they may be."""

import numpy as np
import pytest

from xai.perturb.regions import count_pieces, grown_order

RNG = np.random.default_rng


def test_every_size_of_a_region_is_one_piece_and_lies_where_it_may():
    allowed = np.ones((6, 8, 9), bool)
    allowed[:, 3:5, 2:6] = False
    order = grown_order(allowed, np.ones(6, int), RNG(0))
    assert (np.sort(order.reshape(6, -1)) == np.arange(72)).all()
    for size in (1, 5, 30, 64):
        regions = order < size
        assert (count_pieces(regions) == 1).all()
        assert not (regions & ~allowed).any()
    assert len({tuple(one.ravel()) for one in order < 5}) == 6, "each is another"


def test_as_many_pieces_as_asked_for_at_the_start():
    order = grown_order(np.ones((200, 12, 12), bool), np.full(200, 2), RNG(1))
    pieces = count_pieces(order < 6)
    assert set(pieces) <= {1, 2}
    assert (pieces == 2).mean() > 0.8  # those that start side by side, or meet, are one


def test_a_region_goes_on_elsewhere_where_it_is_shut_in():
    allowed = np.ones((4, 5, 7), bool)
    allowed[:, :, 3] = False  # two rooms of 15 cells
    order = grown_order(allowed, np.ones(4, int), RNG(2))
    assert (count_pieces(order < 15) == 1).all()
    assert (count_pieces(order < 20) == 2).all()
    assert not ((order < 30) & ~allowed).any()


def test_every_cell_is_as_likely_to_be_the_first():
    order = grown_order(np.ones((4000, 2, 2), bool), np.ones(4000, int), RNG(3))
    assert (order == 0).mean(0) == pytest.approx(np.full((2, 2), 0.25), abs=0.03)


def test_pieces_are_counted_by_sides():
    region = np.array([[[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]], np.zeros((3, 4))], bool)
    assert count_pieces(region).tolist() == [3, 0]
