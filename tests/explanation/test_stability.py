"""Images explained again after degradations: the same numbers as by hand, one image or many at once."""

import json

import numpy as np
import pytest
import torch
from page_files import page_of
from PIL import Image
from tiny_detector import classifier, photo, write_photos

import xai.report
from xai.core import DataError, Sample
from xai.data.degradations import LADDER, degraded
from xai.explanation import Explainer, PageBuilder
from xai.explanation.inputs import gather
from xai.explanation.robustness import robustness, write_robustness
from xai.explanation.stability import FURTHER, StabilityCheck
from xai.report import write_page
from xai.report.stability import draw_stability, sentences_of_image, stability_of
from xai.stats.stability import Steadiness, map_change

FEW = (LADDER[0], LADDER[5], LADDER[-2], LADDER[-1])


@pytest.fixture(scope="module")
def explainer():
    torch.manual_seed(0)
    return Explainer(classifier(size=(32, 32)), "gradient_weighted_attention", batch_size=3)


@pytest.fixture(scope="module")
def samples():
    return [Sample(str(number), photo(number), group=f"video{number // 2}") for number in range(7)]


@pytest.fixture(scope="module")
def found(explainer, samples):
    check = StabilityCheck(explainer, FEW)
    results = [check(one) for one in explainer.explain(samples)]
    return check, results, check.with_references([one.image for one in results])


def test_each_degradation_is_what_explaining_the_degraded_image_gives(explainer, samples, found):
    _, results, _ = found
    for sample, result in zip(samples[:2], results, strict=False):
        (clean,) = explainer.explain([sample])
        target = clean.followed
        assert (result.image.target, result.image.predicted) == (target, clean.predicted)
        for one, change in zip(FEW, result.image.changes, strict=True):
            (after,) = explainer.explain([degraded(sample, one)])
            assert change.degradation == one.name
            np.testing.assert_allclose(result.maps[one.name], after.maps[target], atol=1e-6)
            ((spearman, overlap),) = map_change(clean.maps[target], after.maps[target][None])
            assert change.spearman == pytest.approx(spearman, abs=0.02), "ranks of near ties may swap"
            assert change.overlap == pytest.approx(overlap)
            assert change.probability == pytest.approx(after.probabilities[target], abs=1e-6)
            other = 1 - after.labels.index(target)
            margin = float(after.logits[1 - other] - after.logits[other])
            assert change.margin == pytest.approx(margin, abs=1e-5)


def test_maps_are_measured_against_those_of_other_videos(found):
    check, results, images = found
    assert check.further == 0 and [one.reference.maps for one in images] == [5, 5, 5, 5, 5, 5, 6]
    clean = [one.clean.maps[images[0].target] for one in results]
    alike = [map_change(clean[0], clean[place][None])[0][0] for place in range(2, 7)]
    assert images[0].reference.mean == pytest.approx(np.mean(alike), abs=1e-6)


def test_one_image_is_measured_against_photographs_of_the_package(explainer, samples):
    check = StabilityCheck(explainer, FEW[:1])
    (clean,) = explainer.explain(samples[:1])
    (image,) = check.with_references([check(clean).image])
    assert check.further == image.reference.maps == FURTHER and np.isfinite(image.reference.mean)


def test_a_contrast_has_a_margin_and_no_probability(samples):
    torch.manual_seed(0)
    contrast = Explainer(classifier(size=(32, 32)), "gradient_weighted_attention", "fake-real")
    check = StabilityCheck(contrast, FEW[:2])
    (clean,) = contrast.explain(samples[:1])
    image = check(clean).image
    assert image.target == "fake-real" and np.isnan(image.probability)
    assert image.margin == pytest.approx(float(clean.logits[1] - clean.logits[0]), abs=1e-5)
    (measured,) = check.with_references([image])
    assert stability_of(measured, FEW[:2]).probability is None
    assert draw_stability(clean, check(clean).maps, measured, FEW[:2]).pixels(30).shape[2] == 3


def test_every_verdict_has_words(found):
    _, _, images = found
    sentences = sentences_of_image(images[0], FEW)
    assert any("predicts" in one for one in sentences)
    said = {images[0].verdict(one) for one in images[0].changes}
    assert said <= set(Steadiness) and "Measured by rank correlation against maps of 5" in sentences[-1]


def test_a_run_writes_numbers_pictures_and_what_failed(explainer, tmp_path, monkeypatch):
    save = xai.report.save
    monkeypatch.setattr(xai.report, "save", lambda figure, path: save(figure, path, dpi=10))
    write_photos(tmp_path / "in", 3)
    Image.new("RGB", (700, 500), "grey").save(tmp_path / "in/wide.png")
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    steps = []
    found = robustness(explainer, gather(tmp_path / "in", None), pictures=2, step=lambda: steps.append(1))
    assert len(found.images) == 4 and len(found.failures) == 1 and len(steps) == 5
    content = write_robustness(found, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0_robustness.png", "1_robustness.png", "robustness.csv", "robustness.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out/robustness.json").read_text("utf-8")) == json.loads(
        json.dumps(content)
    )
    lines = (tmp_path / "out/robustness.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * len(LADDER) and lines[1].startswith("0,0,")
    assert [one["verdict"] for one in content["overall"]] == ["too_few"] * len(LADDER)
    assert content["reference_photographs"] == FURTHER


def test_a_large_image_waits_for_its_picture_as_a_small_one(explainer, tmp_path):
    large = Sample(
        "large", photo(0).resize((800, 600)), mask=np.ones((600, 800), bool), box=(80, 60, 160, 120)
    )
    (found,) = robustness(explainer, [large]).drawn
    assert found.clean.sample.image.size == found.clean.geometry.size == (640, 480)
    assert found.clean.sample.box == (64, 48, 128, 96) and found.clean.sample.mask.shape == (480, 640)
    assert found.clean.geometry.box == (64, 48, 192, 144)


def test_the_evidence_sheet_has_it_where_it_was_asked_for(explainer, samples, tmp_path):
    builder = PageBuilder(explainer, 2, stability=True)
    for one in explainer.explain(samples[:2]):
        builder.add(one)
    write_page(builder.page(), tmp_path / "index.html")
    images = page_of(tmp_path / "index.html").images
    assert [len(one.stability.degraded) for one in images] == [len(LADDER)] * 2
    assert images[0].stability.others == FURTHER and images[0].stability.sentences
    plain = PageBuilder(explainer, 1)
    plain.add(next(iter(explainer.explain(samples[:1]))))
    assert plain.page().images[0].stability is None


def test_an_image_that_cannot_be_degraded_stays_on_the_page(explainer, samples, monkeypatch):
    builder = PageBuilder(explainer, 1, stability=True)

    def refuse(self, explanation):
        raise DataError("it is too small.")

    monkeypatch.setattr(StabilityCheck, "__call__", refuse)
    builder.add(next(iter(explainer.explain(samples[:1]))))
    (image,) = builder.page().images
    assert image.stability is None and "could not be tried: it is too small." in image.caveats[-1]
