"""Evidence by parts of the face: shares in closed form, removal against plain passes, chance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from linear_model import two_classes, white
from small_face import FIVE
from tiny_detector import classifier, photo

from xai.attention import mask_patches
from xai.core import DataError, ModelError, Sample
from xai.data.face_parts import PARTS, cell_shares
from xai.explanation import Explainer
from xai.explanation.evidence import (
    DRAWS,
    FaceExaminer,
    face_evidence,
    owned_cells,
    rank_p,
    remove_parts,
)
from xai.perturb import Stream, make_operator

ZERO = make_operator("constant", value=0.0, space="normalised")


@pytest.fixture(scope="module")
def explainer():
    return Explainer(classifier(), "gradient_weighted_attention")


@pytest.fixture(scope="module")
def explanation(explainer):
    (found,) = explainer.explain([Sample("face", photo(0, (32, 32)), landmarks=FIVE)])
    return found


def by_part(evidence):
    return {one.part: one for one in evidence.parts}


def test_an_even_map_gives_every_part_its_area(explanation):
    even = replace(explanation, maps={"fake": np.full((8, 8), 0.5), "real": np.full((8, 8), -2.0)})
    found = face_evidence(even)
    assert (found.points, found.grid) == (5, (8, 8))
    assert sum(one.area for one in found.parts) == pytest.approx(1)
    assert sum(one.cells for one in found.parts) == 64
    for one in found.parts:
        fake, real = one.relevance["fake"], one.relevance["real"]
        assert fake.positive == pytest.approx(one.area)
        assert fake.positive_interval == pytest.approx(one.area_interval)
        assert real.negative == pytest.approx(one.area)
        assert fake.negative is fake.negative_interval is real.positive is None


def test_a_map_in_the_mouth_is_the_mouths(explanation):
    cells = cell_shares(FIVE, explanation.geometry, (16, 16))
    mouth = cells[PARTS.index("mouth")]
    values = np.where(mouth == 1, 1.0, 0.0) - np.where(cells[PARTS.index("background")] == 1, 3.0, 0.0)
    found = by_part(face_evidence(replace(explanation, maps={"fake": values})))
    assert found["mouth"].relevance["fake"].positive == 1
    assert found["background"].relevance["fake"].negative == 1
    low, high = found["mouth"].relevance["fake"].positive_interval
    assert 0.3 < low < high <= 1, "where the points are off, some of it is not the mouth's"


def test_intervals_follow_the_seed_and_grow_with_fewer_points(explanation):
    from xai.data.face_landmarks import complete_landmarks

    one, same = face_evidence(explanation, 3), face_evidence(explanation, 3)
    assert one == same != face_evidence(explanation, 4)
    real = replace(explanation.sample, landmarks=complete_landmarks(FIVE)[:68])
    widths = [
        sum(part.area_interval[1] - part.area_interval[0] for part in found.parts)
        for found in (one, face_evidence(replace(explanation, sample=real)))
    ]
    assert widths[0] > widths[1] > 0


@pytest.mark.parametrize("name", ["token", "mean"])
def test_removal_equals_plain_passes(name):
    model = classifier()
    pixels = model.preprocess(photo(0, (32, 32)))[None]
    cells = cell_shares(FIVE, model.geometry((32, 32)), (4, 4))
    removed = remove_parts(Stream(model), make_operator(name), pixels, 1, cells)
    owned = owned_cells(cells)
    assert (owned.sum(0) == 1).all()

    def margin(gone):
        with torch.no_grad():
            if name == "token":
                with mask_patches(model, torch.from_numpy(~gone.reshape(1, 16)), model.grid):
                    logits = model(pixels)
            else:
                spread = torch.from_numpy(np.kron(gone, np.ones((8, 8))))[None, None].bool()
                logits = model(torch.where(spread, pixels.mean((2, 3), keepdim=True), pixels))
        return float(logits[0, 1] - logits[0, 0])

    assert removed.clean == pytest.approx(margin(np.zeros((4, 4), bool)), abs=1e-5)
    some = owned.any((1, 2))
    assert some.sum() >= 3
    expected = [margin(one) for one in owned[some]]
    assert removed.without[some] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(removed.without[~some]).all()


def test_random_regions_are_as_large_and_lie_elsewhere():
    """Margin = number of cells left, if none of the part's is removed."""
    cells = cell_shares(FIVE * 2, classifier().geometry((64, 64)), (16, 16))
    owned = owned_cells(cells)
    sizes = owned.sum((1, 2))
    for place in (PARTS.index("eyes"), PARTS.index("jaw"), PARTS.index("background")):
        weights = torch.ones(16, 16)
        weights[torch.from_numpy(owned[place])] = 1000.0
        removed = remove_parts(Stream(two_classes(weights)), ZERO, white(16, 16), 1, cells)
        size = int(sizes[place])
        assert removed.clean - removed.without[place] == 1000 * size
        assert size
        if size > 16 * 16 / 3:
            assert np.isnan(removed.random[place]).all()
        else:
            assert (removed.clean - removed.random[place] == size).all()
    assert removed.states <= 1 + len(PARTS) * (1 + DRAWS)


def test_planted_evidence_has_the_least_p_and_no_evidence_does_not():
    cells = cell_shares(FIVE * 2, classifier().geometry((64, 64)), (16, 16))
    owned = owned_cells(cells)
    weights = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    weights[torch.from_numpy(owned[PARTS.index("mouth")])] = 5.0
    weights[torch.from_numpy(owned[PARTS.index("nose")])] = -5.0
    removed = remove_parts(Stream(two_classes(weights)), ZERO, white(16, 16), 1, cells)
    chances = dict(zip(PARTS, rank_p(removed.without, removed.random), strict=True))
    assert chances["mouth"] == pytest.approx(1 / 20)
    assert chances["nose"] == 1
    assert sum(p <= 0.05 for p in chances.values()) <= 3


def test_of_an_explanation_everything_is_found(explainer, explanation):
    found = FaceExaminer(explainer)(explanation)
    assert found.removals.operator == "token"
    assert found.removals.target == explanation.followed
    clean = explanation.logits[1] - explanation.logits[0]
    assert abs(found.removals.clean) == pytest.approx(abs(clean), abs=1e-4)
    for one in found.parts:
        assert (one.without is None) == (one.cells == 0)
        assert len(one.random) == (0 if one.p is None else DRAWS)
    assert FaceExaminer(explainer, removal=False)(explanation) == face_evidence(explanation)
    without = replace(explanation, sample=replace(explanation.sample, landmarks=None))
    assert FaceExaminer(explainer)(without) is None
    with pytest.raises(DataError, match="landmarks"):
        face_evidence(without)


def test_a_model_that_breaks_is_said(explanation):
    model = classifier()
    explainer = Explainer(model, "gradient_weighted_attention")
    with torch.no_grad():
        model.module.head.weight[0, 0] = float("nan")
    found = FaceExaminer(explainer)(explanation)
    assert found.removals is None
    assert "NaN" in found.caveats[0]
    huge = two_classes(torch.full((4, 4), 1e38))
    with pytest.raises(ModelError, match="not finite"):
        remove_parts(Stream(huge), ZERO, white(4, 4), 1, cell_shares(FIVE, explanation.geometry, (4, 4)))
