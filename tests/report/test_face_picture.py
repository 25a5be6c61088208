"""The picture of the evidence by parts of the face: words, bars, and any shape of image."""

from itertools import combinations

import numpy as np
import pytest
from small_face import FIVE

from xai.core.language import language
from xai.data.face_parts import PARTS
from xai.report import draw_face_parts
from xai.report.face_parts import AGAINST, FOR, painted_face, part_name
from xai.report.image_payload import FaceEvidence, FacePart, PartRelevance, PartRemovals
from xai.report.picture import extent

RNG = np.random.default_rng(0)
MAPS = {"real": RNG.random((4, 4)) - 0.5, "fake": RNG.random((4, 4)) - 0.5}


def evidence(removals=True, labels=("real", "fake")):
    parts = [
        FacePart(
            part=part,
            area=0.1,
            area_interval=(0.08, 0.12),
            relevance={
                label: PartRelevance(
                    positive=0.2, positive_interval=(0.15, 0.3), negative=0.05, negative_interval=(0.01, 0.06)
                )
                for label in labels
            },
            cells=2,
            without=1.25 if removals else None,
            random=[1.0, 2.0] if removals and part != "background" else [],
            p=0.5 if removals and part != "background" else None,
        )
        for part in PARTS
    ]
    removed = PartRemovals(target="fake", value="margin", operator="mean", clean=1.5, states=9)
    return FaceEvidence(points=5, draws=100, grid=(4, 4), parts=parts, removals=removed if removals else None)


def words_of(picture):
    return " ".join(line.text for line in picture.lines)


def test_says_every_part_share_and_change(explained):
    explanation = explained(MAPS, (32, 32), landmarks=FIVE)
    words = words_of(draw_face_parts(explanation, evidence()))
    for text in ("eyes", "brows", "jaw and boundary", "hair and ears", "evidence for fake", "+20.0% (2.00×)"):
        assert text in words
    assert words.count("−5.0% (0.50×)") == 2 * len(PARTS)
    assert words.count("p = 0.50") == len(PARTS) - 1
    assert "mean colour" in words
    assert words.index("evidence for fake") < words.index("evidence for real")
    without = words_of(draw_face_parts(explanation, evidence(removals=False)))
    assert "p = " not in without


@pytest.mark.parametrize("size", [(32, 32), (300, 40), (40, 300)])
@pytest.mark.parametrize("maps", [MAPS, {"fake": MAPS["fake"]}])
def test_nothing_is_cut_off(explained, size, maps):
    explanation = explained(maps, size, landmarks=FIVE, labels=("real", "fake"))
    picture = draw_face_parts(explanation, evidence(labels=tuple(maps)))
    for placed in picture.layers:
        assert placed.x >= 0 and placed.x + placed.width <= picture.width
        assert placed.y >= 0 and placed.y + placed.height <= picture.height
    words = [(line.text, extent(line, picture.dpi)) for line in picture.lines if line.text]
    for (one, area), (other, other_area) in combinations(words, 2):
        wide = min(area[2], other_area[2]) - max(area[0], other_area[0])
        assert min(wide, min(area[3], other_area[3]) - max(area[1], other_area[1])) < 2, (one, other)
    for _, area in words:
        assert area[0] >= 0 and area[1] >= 0 and area[2] <= picture.size[0] and area[3] <= picture.size[1]
    pixels = picture.pixels(60).reshape(-1, 3)
    for colour in (FOR, AGAINST):
        rgb = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (pixels == rgb).all(1).sum() > 20


def test_parts_are_painted_in_their_colours(explained):
    explanation = explained(MAPS, (32, 32), landmarks=FIVE)
    picture = np.asarray(painted_face(explanation, 96)).reshape(-1, 3)
    assert len(np.unique(picture, axis=0)) >= 2 * len(PARTS), "a tint and an outline of every part"


def test_parts_have_names_in_every_language():
    english = [part_name(part) for part in PARTS]
    with language("zh"):
        assert not set(english) & {part_name(part) for part in PARTS}
    assert len(set(english)) == len(PARTS)
