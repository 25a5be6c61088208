"""Parts of a face from its points: a partition, moved as the points are, and shares in closed form."""

import numpy as np
import pytest

from xai.core import DataError, Geometry
from xai.data.face_parts import (
    PARTS,
    cell_shares,
    complete_landmarks,
    five_points,
    label_parts,
    part_masks,
    part_shares,
)

SIZE = (120, 100)
FIVE = np.array([(45.0, 40.0), (75.0, 42.0), (60.0, 58.0), (47.0, 74.0), (71.0, 76.0)])
WHOLE = Geometry(SIZE, (0, 0, *SIZE))
PIXELS = np.arange(SIZE[0]), np.arange(SIZE[1])


def moved(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = scale * np.exp(1j * np.radians(degrees)) * (points[..., 0] + 1j * points[..., 1])
    return np.stack([turn.real, turn.imag], -1) + shift


def landmarks(count: int) -> np.ndarray:
    return FIVE if count == 5 else complete_landmarks(FIVE)[:count]


@pytest.mark.parametrize("count", [5, 68, 81])
def test_every_pixel_belongs_to_one_part_and_no_part_is_empty(count):
    masks = part_masks(landmarks(count), SIZE)
    assert masks.shape == (len(PARTS), SIZE[1], SIZE[0])
    assert (masks.sum(0) == 1).all()
    assert masks.any((1, 2)).all()


def test_drawn_landmarks_pass_through_the_five_points():
    found = complete_landmarks(FIVE)
    np.testing.assert_allclose(five_points(found), FIVE, atol=1e-9)
    np.testing.assert_allclose(complete_landmarks(found[:68]), found, atol=1e-9)


def test_each_point_lies_in_its_part():
    def part_at(x: float, y: float) -> str:
        return PARTS[label_parts(FIVE, np.array([x]), np.array([y]))[0, 0]]

    assert [part_at(*point) for point in FIVE] == ["eyes", "eyes", "nose", "mouth", "mouth"]
    found = complete_landmarks(FIVE)
    assert {part_at(*point) for point in found[1:16]} == {"jaw"}
    assert {part_at(*point) for point in found[18:26]} == {"brows"}
    assert part_at(*(found[74] + found[27:28].mean(0)) / 2) == "forehead"
    assert part_at(*(found[31] + found[3]) / 2) == "skin"
    assert part_at(60, 0) == "hair"
    assert part_at(0, 99) == "background"


@pytest.mark.parametrize("count", [5, 68, 81])
def test_turned_points_turn_the_parts(count):
    """The label of a place is the label of that place turned, of the face turned."""
    points = landmarks(count)
    turned = moved(points, 35, 1.7, (11.0, -4.0))
    np.testing.assert_allclose(
        complete_landmarks(turned), moved(complete_landmarks(points), 35, 1.7, (11, -4))
    )
    rng = np.random.default_rng(0)
    places = rng.uniform((0, 0), SIZE, (60, 2))

    def at(points: np.ndarray, place: np.ndarray) -> int:
        return int(label_parts(points, place[:1], place[1:])[0, 0])

    same = [
        at(points, a) == at(turned, b) for a, b in zip(places, moved(places, 35, 1.7, (11, -4)), strict=True)
    ]
    assert np.mean(same) >= 0.95  # but for polygons of 32 directions, which do not turn with the face


def test_scaled_points_scale_the_parts_exactly():
    double = label_parts(2 * FIVE, 2 * PIXELS[0], 2 * PIXELS[1])
    np.testing.assert_array_equal(double, label_parts(FIVE, *PIXELS))


def test_forehead_points_may_come_in_any_order():
    points = landmarks(81)
    shuffled = np.concatenate([points[:68], np.random.default_rng(1).permutation(points[68:])])
    np.testing.assert_array_equal(part_masks(shuffled, SIZE), part_masks(points, SIZE))


def test_batches_are_the_same_as_one_by_one():
    faces = np.stack([FIVE, moved(FIVE, 10, 0.8, (20, 3))])
    cells = cell_shares(faces, WHOLE, (5, 6))
    assert cells.shape == (2, len(PARTS), 5, 6)
    for face, found in zip(faces, cells, strict=True):
        np.testing.assert_array_equal(cell_shares(face, WHOLE, (5, 6)), found)


def test_shares_of_cells_are_the_areas_of_masks():
    """Cells of 20 × 20 pixels, so each square asked is a pixel."""
    masks = part_masks(FIVE, SIZE)
    areas = masks.reshape(len(PARTS), 5, 20, 6, 20).mean((2, 4))
    np.testing.assert_allclose(cell_shares(FIVE, WHOLE, (5, 6)), areas, atol=1e-12)


def test_shares_of_a_view_that_reaches_beyond_the_image():
    view = Geometry(SIZE, (-40.0, -30.0, 80.0, 90.0))
    cells = cell_shares(FIVE, view, (8, 8))
    np.testing.assert_allclose(cells.sum(0), 1)
    outside = PARTS.index("background")
    assert (cells[outside, :2] == 1).all()
    assert (cells[outside, :, :2] == 1).all()
    padded = cell_shares(FIVE + np.array([40, 30]), Geometry((200, 200), (0, 0, 120, 120)), (8, 8))
    np.testing.assert_allclose(cells[:, 2:, 3:], padded[:, 2:, 3:])


def test_a_face_outside_what_the_model_saw_leaves_background_alone():
    cells = cell_shares(FIVE + 500, WHOLE, (5, 6))
    assert (cells[PARTS.index("background")] == 1).all()


def test_an_even_map_gives_the_shares_of_area():
    cells = cell_shares(FIVE, WHOLE, (5, 6))
    np.testing.assert_allclose(part_shares(np.full((5, 6), 0.3), cells), cells.mean((1, 2)))
    assert cells.mean((1, 2)) == pytest.approx(part_masks(FIVE, SIZE).mean((1, 2)))


def test_a_map_inside_the_mouth_gives_it_everything():
    x, y, w, h = 56, 76, 6, 3  # the mouth's middle
    cells = cell_shares(FIVE, Geometry(SIZE, (x, y, x + w, y + h)), (3, 3))
    values = np.random.default_rng(0).uniform(0.1, 1, (3, 3))
    expected = np.eye(len(PARTS))[PARTS.index("mouth")]
    np.testing.assert_allclose(part_shares(values, cells), expected)


def test_positive_and_negative_relevance_are_apart():
    cells = np.zeros((len(PARTS), 1, 2))
    cells[0, 0, 0] = cells[1, 0, 1] = 1
    values = np.array([[[3.0, -2.0]], [[-1.0, -1.0]]])
    positive, negative = part_shares(values, cells), part_shares(-values, cells)
    np.testing.assert_allclose(positive[0, :2], [1, 0])
    np.testing.assert_allclose(negative[:, :2], [[0, 1], [0.5, 0.5]])
    assert np.isnan(positive[1]).all()


@pytest.mark.parametrize(
    "points",
    [
        FIVE[:4],
        FIVE * np.nan,
        FIVE * 0,
        FIVE[[1, 0, 2, 4, 3]],
        FIVE[..., None],
        FIVE * 1e300,
        [["a", "b"]] * 5,
        [[1, 2], [3]],
    ],
)
def test_points_of_no_face_are_refused(points):
    with pytest.raises(DataError, match="landmarks|Landmarks"):
        complete_landmarks(points)
