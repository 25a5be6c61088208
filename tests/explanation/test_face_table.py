"""The evidence by parts of the face in files: record, picture, table and means over images."""

import csv
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_face import FIVE
from tiny_detector import classifier, photo

from xai.core import Sample
from xai.data.face_parts import PARTS
from xai.explanation import Explainer, explain, explain_each
from xai.explanation.face_table import FaceTable
from xai.report.image_payload import PartRelevance
from xai.stats import bootstrap


@pytest.fixture(scope="module")
def explainer():
    return Explainer(classifier(), "gradient_weighted_attention")


def sample(number, **known):
    return Sample(str(number), photo(number, (32, 32)), **{"landmarks": FIVE, "label": "fake"} | known)


@pytest.fixture(scope="module")
def run(explainer, tmp_path_factory):
    """Three faces in two groups, an image without landmarks, one whose points are of no face."""
    out = tmp_path_factory.mktemp("faces")
    samples = [
        sample(0, group="a"),
        sample(1, group="a"),
        sample(2, group="b", label="real"),
        sample(3, landmarks=None),
        sample(4, landmarks=FIVE[[1, 0, 2, 4, 3]]),
    ]
    results = list(explain_each(explainer, samples, out, part_removal=True, pictures="none"))
    table = FaceTable()
    for result in results:
        if result.evidence is not None:
            table.add(result.explanation, result.evidence)
    table.write(out)
    return out, results, table


def test_records_hold_the_evidence_or_say_why_there_is_none(run):
    out, results, _ = run
    for result in results[:3]:
        record = json.loads((out / result.record["files"]["record"]).read_text())
        assert record["face_parts"] == result.evidence.model_dump(mode="json")
        assert [part["part"] for part in record["face_parts"]["parts"]] == list(PARTS)
        assert record["face_parts"]["removals"]["states"] > 1
    assert results[3].record["face_parts"] is None
    assert results[4].record["face_parts"]["parts"] == []
    assert "mirrored" in results[4].record["face_parts"]["caveats"][0]


def test_removal_is_left_out_of_many_images_or_where_not_wanted(explainer):
    cheap = Explainer(explainer.classifier, "center_prior")

    def removals(count, **options):
        results = explain_each(cheap, [sample(number) for number in range(count)], **options)
        return {result.evidence.removals is not None for result in results}

    assert removals(1) == {True}
    assert removals(1, part_removal=False) == {False}
    assert removals(6) == {False}


def test_the_picture_is_drawn_and_goes_with_the_landmarks(explainer, tmp_path):
    (result,) = explain_each(explainer, [sample(0)], tmp_path, part_removal=False)
    assert result.record["files"]["face_parts"] == "0_face_parts.png"
    with Image.open(tmp_path / "0_face_parts.png") as picture:
        assert picture.width == 2000
    (result,) = explain_each(
        explainer, [sample(0, landmarks=FIVE[[1, 0, 2, 4, 3]])], tmp_path, pictures="none"
    )
    assert "face_parts" not in result.record["files"]
    assert not (tmp_path / "0_face_parts.png").exists()


def test_table_has_a_line_for_each_part_and_class(run):
    out, results, _ = run
    with (out / "face_parts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * len(PARTS)
    for row in rows:
        evidence = results[int(row["image"])].evidence
        part = evidence.parts[PARTS.index(row["part"])]
        found = part.relevance[row["class"]]
        assert float(row["area"]) == part.area
        assert row["positive"] == ("" if found.positive is None else str(found.positive))
        assert row["without"] == ("" if part.without is None else str(part.without))
        assert float(row["clean"]) == evidence.removals.clean


def test_means_are_those_of_the_images(run):
    out, results, _ = run
    content = json.loads((out / "face_parts.json").read_text())
    assert content["images"] == 3
    means = content["means"]
    assert [one["images_of"] for one in means][:: len(PARTS)] == [None, None, "fake", "fake", "real", "real"]
    assert [one["class"] for one in means][:: len(PARTS)] == ["fake", "real"] * 3
    for one in means:
        chosen = [0, 1, 2] if one["images_of"] is None else [0, 1] if one["images_of"] == "fake" else [2]
        place = PARTS.index(one["part"])
        shares = [results[i].evidence.parts[place].relevance[one["class"]].positive for i in chosen]
        assert one["images"] == len(chosen)
        assert one["positive"]["mean"] == pytest.approx(np.mean(shares))
        assert one["positive"]["interval"] is None, "two groups say next to nothing of spread"


def test_groups_are_drawn_whole(run, monkeypatch):
    monkeypatch.setattr(bootstrap, "LEAST_BLOCKS", 2)
    _, results, _ = run
    table = FaceTable()
    for result in results[:3]:
        table.add(result.explanation, result.evidence)
    for one in table.means:
        place = PARTS.index(one["part"])
        shares = [result.evidence.parts[place].relevance[one["class"]].positive for result in results[:3]]
        if one["images_of"] is None:
            # every mean that is drawn is that of one of the two groups or of both
            ends = sorted([np.mean(shares[:2]), shares[2]])
            assert one["positive"]["interval"] == pytest.approx(ends)
        else:
            assert one["positive"]["interval"] is None, "one group says nothing of spread"


def test_parts_that_some_images_lack_count_where_they_are(run, monkeypatch):
    """One that owns no cell of an image has no change there; a map without relevance has no shares."""
    monkeypatch.setattr(bootstrap, "LEAST_BLOCKS", 2)
    _, results, _ = run
    place = next(i for i, part in enumerate(results[0].evidence.parts) if part.without is not None)
    table, changes, shares = FaceTable(), [], []
    for number, result in enumerate(results[:3]):
        parts = list(result.evidence.parts)
        if number == 0:
            parts[place] = parts[place].model_copy(update={"without": None, "random": [], "p": None})
        else:
            changes.append(parts[place].without - result.evidence.removals.clean)
        if number == 1:
            nothing = {"fake": PartRelevance(), "real": PartRelevance()}
            parts = [part.model_copy(update={"relevance": nothing}) for part in parts]
        else:
            shares.append(parts[place].relevance["fake"].positive)
        table.add(result.explanation, result.evidence.model_copy(update={"parts": parts}))
    found = table.means[place]
    assert (found["images_of"], found["class"], found["part"]) == (None, "fake", PARTS[place])
    assert found["change"]["mean"] == pytest.approx(np.mean(changes))
    assert found["change"]["interval"] == pytest.approx(sorted(changes))
    assert found["positive"]["mean"] == pytest.approx(np.mean(shares))


def test_names_that_no_file_can_hold_are_written_all_the_same(run, tmp_path):
    _, results, _ = run
    table, found = FaceTable(), results[0].explanation
    named = replace(found, sample=replace(found.sample, id="a\udcff,\n=1"))
    table.add(named, results[0].evidence)
    table.write(tmp_path)
    with (tmp_path / "face_parts.csv").open(newline="", encoding="utf-8") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {"a?,\n=1"}


def test_shown_to_people(run):
    _, _, table = run
    header, rows = table.shown()
    assert header[2:] == ["evidence for fake (n = 2)", "evidence for real (n = 1)"]
    assert [row[0] for row in rows][:3] == ["eyes", "brows", "nose"]
    assert all("×" in row[2] for row in rows)


def test_the_library_call_writes_the_table_and_asks_no_more_passes_without_files(explainer, tmp_path):
    model = explainer.classifier
    explain([sample(0), sample(1)], model, method="center_prior", out=tmp_path, pictures="none")
    content = json.loads((tmp_path / "face_parts.json").read_text())
    assert content["images"] == 2
    assert any(one["change"]["mean"] is not None for one in content["means"])
    with counted(model) as passes:
        explain(sample(0), model, method="center_prior")
    alone = len(passes)
    with counted(model) as passes:
        explain(sample(0, landmarks=None), model, method="center_prior")
    assert alone == len(passes)


@contextmanager
def counted(model):
    passes = []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    try:
        yield passes
    finally:
        handle.remove()
