"""Surveys: rows of work items, canonical frames, sums over parts, files, comparisons, the command."""

import csv
import json
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml
from scipy.stats import spearmanr
from tiny_detector import photo, write_detector
from typer.testing import CliRunner

from xai.bench import (
    RunContext,
    SurveyConfig,
    compare_surveys,
    estimate,
    make_plan,
    read_survey,
    run_benchmark,
    status,
    summarise,
    survey_results,
    write_survey,
)
from xai.bench.results.survey import LEAST_PEERS
from xai.bench.results.survey_rows import parts_of
from xai.bench.run.ray_worker import Expected, Worker, WorkerReport
from xai.bench.run.runner import _work
from xai.bench.run.store import Store
from xai.bench.run.survey_rows import FACE
from xai.cli.main import app
from xai.cli.running import is_partial
from xai.core import ConfigError, DataError, Geometry, UsageError
from xai.core.runtime import decisive
from xai.data.face_parts import PARTS, cell_shares, part_shares
from xai.stats.maps import map_distance

KILLED = """
import os, signal, sys
from xai.bench import read_survey, run_benchmark

def dying(state):
    if state.done == 1:
        os.kill(os.getpid(), signal.SIGKILL)

config, out = sys.argv[1:]
run_benchmark(read_survey(config), out, progress=dying)
"""
IMAGES, SIDE = 24, 40


def points(seed: int) -> np.ndarray:
    """A face in a picture of 40 × 40 pixels, turned and moved a little."""
    random = np.random.default_rng(seed)
    turn, scale = random.normal(0, 0.2), random.uniform(0.8, 1.0)
    z = (FACE - 0.5) @ (1, 1j) * scale * np.exp(1j * turn)
    return np.stack([z.real, z.imag], -1) * SIDE + SIDE / 2 - 0.5


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A manifest of 24 pictures in 12 groups, with landmarks but for the last two; one has broken ones."""
    folder = tmp_path_factory.mktemp("faces")
    lines = ["path,label,group,kind,landmarks"]
    for i in range(IMAGES):
        photo(i, (SIDE, SIDE)).save(folder / f"{i}.png")
        label, kind = ("fake", ("swap", "blend")[i % 4 // 2]) if i % 2 else ("real", "pristine")
        where = f"{i}.npy" if i < IMAGES - 2 else ""
        np.save(folder / f"{i}.npy", points(i))
        lines.append(f"{i}.png,{label},video{i // 2},{kind},{where}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def survey_config(faces):
    """Make a small configuration; keywords replace its parts."""

    def make(**parts) -> SurveyConfig:
        content = {
            "data": {"manifest": str(faces / "faces.csv")},
            "methods": ["gradient_weighted_attention", "attention_rollout"],
            "frame_size": 8,
            "farthest": 3,
            "statistics": {"resamples": 99},
            "shard_size": 8,
        }
        return SurveyConfig.model_validate(content | parts)

    return make


@pytest.fixture(scope="module")
def run(survey_config, tiny, tmp_path_factory):
    """A finished survey with its files; not to be changed."""
    out = tmp_path_factory.mktemp("survey")
    result = run_benchmark(survey_config(), out, classifier=tiny)
    assert (result.work_items, result.records, result.forwards) == (3, 2 * IMAGES, 0)
    write_survey(out)
    return out


@pytest.fixture(scope="module")
def rows(run):
    return [row for part in parts_of(run) for row in part]


def same_rows(one, other):
    left, right = ([row for part in parts_of(run) for row in part] for run in (one, other))
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        assert (a.image, a.method, a.cell, a.frame, a.level) == (b.image, b.method, b.cell, b.frame, b.level)
        np.testing.assert_array_equal(a.map, b.map)
        np.testing.assert_array_equal(a.logits, b.logits)


def test_killed_after_a_work_item_and_resumed_equals_uninterrupted(survey_config, tmp_path):
    write_detector(tmp_path)
    content = survey_config(model="tiny.yaml").model_dump(mode="json", exclude_unset=True)
    path = tmp_path / "survey.yaml"
    path.write_text(yaml.safe_dump(content))
    victim = subprocess.run([sys.executable, "-c", KILLED, str(path), str(tmp_path / "killed")])
    assert victim.returncode == -signal.SIGKILL
    assert (status(tmp_path / "killed").done, status(tmp_path / "killed").units) == (1, 3)
    assert survey_results(tmp_path / "killed").units == (1, 3)  # what is there can be summed up
    result = run_benchmark(read_survey(path), tmp_path / "killed")
    assert (result.resumed, result.work_items) == (1, 3)
    assert run_benchmark(read_survey(path), tmp_path / "whole").resumed == 0
    same_rows(tmp_path / "killed", tmp_path / "whole")
    one, other = (write_survey(tmp_path / name).as_dict() for name in ("killed", "whole"))
    assert one | {"provenance": {}} == other | {"provenance": {}}
    with pytest.raises(ConfigError, match=r"frame \(auto → crop\)"):
        run_benchmark(read_survey(path).model_copy(update={"frame": "crop"}), tmp_path / "whole")


def test_a_ray_worker_writes_the_same_parts(survey_config, tiny, run, tmp_path):
    """What an actor of a cluster runs, without the cluster."""
    context = RunContext(survey_config(), tmp_path, tiny)
    plan = make_plan(context.config, tiny)
    worker = Worker(pickle.loads(pickle.dumps(context)), Expected(decisive(), tiny.fingerprint), 1)  # noqa: S301 - our own
    assert worker.ready() == WorkerReport()
    for shard in _work(plan, set()):
        report = worker.work(pickle.loads(pickle.dumps(shard)))  # noqa: S301 - our own
        assert report.crash is None and report.error is None
    assert Store(tmp_path).keys() == Store(run).keys()


def test_rows_hold_frames_answers_and_parts(rows, faces):
    assert [row.place for row in rows] == [place for place in range(IMAGES) for _ in range(2)]
    assert {row.frame for row in rows[:-4]} == {"face"} and {row.frame for row in rows[-4:]} == {"crop"}
    assert rows[0].map.shape == (8, 8) and rows[-1].map.shape == (4, 4)
    for row in rows:
        assert row.predicted == ("real", "fake")[int(np.argmax(row.logits))] == row.target
    first = rows[0]
    area = part_shares(np.ones((4, 4)), cell_shares(points(0), Geometry((40, 40), (0, 0, 40, 40)), (4, 4)))
    np.testing.assert_allclose(first.shares[2], area)
    assert first.shares[0].sum() == pytest.approx(1)
    assert rows[-1].shares is None
    assert rows[-1].level == pytest.approx(np.abs(rows[-1].map).mean(), rel=1e-6)  # nothing was resampled


def test_sums_are_those_of_the_rows(run, rows):
    found = survey_results(run)
    assert (found.used, found.images, found.groups, found.units) == (IMAGES, IMAGES, 12, (3, 3))
    assert found.labels == ("fake", "real")
    section = found.sections[0]
    assert (section.method, section.frame, section.images) == ("gradient_weighted_attention", "face", 22)
    mine = [row for row in rows if (row.method, row.frame) == (section.method, section.frame)]
    for one in section.maps:
        asked = [
            row
            for row in mine
            if all(
                want in (None, got)
                for want, got in zip((one.label, one.predicted, one.kind), row.cell, strict=True)
            )
        ]
        maps = np.stack([row.map / row.level for row in asked])
        assert one.images == len(asked)
        np.testing.assert_allclose(one.mean, maps.mean(0), rtol=1e-6, atol=1e-7)
        if len(asked) > 1:
            np.testing.assert_allclose(one.spread, maps.std(0, ddof=1), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(one.raw, np.mean([row.map for row in asked], 0), rtol=1e-5, atol=1e-9)
    asked = [(one.label, one.kind) for one in section.maps if one.predicted is None]
    assert asked[:3] == [(None, None), ("fake", None), ("real", None)]
    assert asked[-1] == (None, "pristine")  # fakes before genuine ones
    contrast = next(one for one in section.contrasts if one.of == "label")
    assert (contrast.first, contrast.second, contrast.blocks) == ("fake", "real", 11)
    np.testing.assert_allclose(contrast.difference, section.maps[1].mean - section.maps[2].mean)
    shares = [row.shares[0] for row in mine if np.isfinite(row.shares[0]).all()]
    parts = [one for one in section.parts if one.label is None and one.sign == "positive"]
    np.testing.assert_allclose([one.share for one in parts], np.mean(shares, 0))
    assert all(one.low <= one.share <= one.high for one in parts)
    pair = found.agreement[0]
    maps = {(row.image, row.method): row.map.ravel() for row in rows}
    by_hand = [spearmanr(maps[row.image, pair.first], maps[row.image, pair.second])[0] for row in rows[::2]]
    assert pair.mean == pytest.approx(np.mean(by_hand))
    counted = {(one.label, one.kind): sum(one.answers.values()) for one in found.answers}
    assert counted == {("fake", "swap"): 6, ("fake", "blend"): 6, ("real", "pristine"): 12}


def test_the_farthest_images_are_those_of_the_largest_distance(run, rows):
    section = survey_results(run).sections[0]
    mine = [row for row in rows if (row.method, row.frame) == (section.method, section.frame)]
    distances = {}
    for row in mine:
        peers = [other.map / other.level for other in mine if other.cell == row.cell]
        if len(peers) >= LEAST_PEERS:
            distances[row.image] = map_distance(row.map / row.level, np.mean(peers, 0))
    far = sorted(distances, key=distances.get, reverse=True)[:3]
    assert [one.image for one in section.farthest] == far
    assert [one.distance for one in section.farthest] == pytest.approx([distances[one] for one in far])
    with (run / "images.csv").open() as file:
        table = {line["image"]: line for line in csv.DictReader(file) if line["method"] == section.method}
    assert float(table[far[0]]["distance"]) == pytest.approx(distances[far[0]], rel=1e-4)
    assert len(table) == IMAGES and float(table["0"]["for_eyes"]) == pytest.approx(
        mine[0].shares[0][0], rel=1e-4
    )


def test_the_files_of_a_survey(run):
    content = json.loads((run / "summary.json").read_text())
    assert content["schema"] == "xai.survey-summary/1" and len(content["sections"]) == 4
    text = (run / "summary.md").read_text()
    assert text.index("label fake, kind") < text.index("label real, kind pristine")
    assert "canonical face" in text and "crop frame" in text
    page = (run / "report.html").read_text()
    assert page.count("data:image/webp") > 10  # thumbnails, and maps over the mean face
    assert (run / "maps.png").stat().st_size > 1000


def test_only_what_the_frame_allows_is_explained(survey_config, tiny, faces, tmp_path):
    lines = (faces / "faces.csv").read_text().replace("1.npy", "broken.npy", 1)
    (faces / "some.csv").write_text(lines)
    np.save(faces / "broken.npy", np.ones((5, 2)))
    config = survey_config(
        frame="face", data={"manifest": str(faces / "some.csv")}, methods=["attention_rollout"], target="fake"
    )
    result = run_benchmark(config, tmp_path, classifier=tiny)
    assert result.records == IMAGES - 3
    reasons = {one.image: one.reason for one in result.exclusions}
    assert is_partial(result)  # which the exit code says
    assert set(reasons) == {"1", "22", "23"} and "landmarks" in reasons["1"] and "landmarks" in reasons["22"]
    assert {row.target for part in parts_of(tmp_path) for row in part} == {"fake"}
    assert "| 2 | * | no landmarks are known" in (
        write_survey(tmp_path) and (tmp_path / "summary.md").read_text()
    )


def test_nothing_but_images(survey_config, tiny, faces, tmp_path):
    """No labels, groups or landmarks: answers alone are told apart, and every image is its own group."""
    config = survey_config(data={"images": str(faces / "*.png")}, methods=["attention_rollout"], farthest=0)
    run_benchmark(config, tmp_path, classifier=tiny)
    found = write_survey(tmp_path)
    (section,) = found.sections
    assert (section.frame, found.groups, section.farthest, section.parts) == ("crop", IMAGES, (), ())
    assert {one.of for one in section.contrasts} <= {"predicted"} and {one.label for one in section.maps} == {
        None
    }
    assert "all images" in (tmp_path / "summary.md").read_text()


def test_two_surveys_on_the_same_images(survey_config, tiny, run, tmp_path):
    found = compare_surveys(run, run)
    assert (found.images, found.only, found.same_answers) == (22, (2, 2), 1.0)
    assert found.agreement[0].mean == pytest.approx(1)
    assert not found.contrasts[0].difference.any()
    methods = "gradient_weighted_attention", "attention_rollout"
    found = compare_surveys(run, run, methods)  # two methods of one run
    assert found.runs == found.methods == methods and found.contrasts[0].difference.any()
    with pytest.raises(UsageError, match="'rise' is unknown"):
        compare_surveys(run, run, ("rise", "attention_rollout"))
    config = survey_config(
        name="rollout",
        methods=["attention_rollout"],
        data=survey_config().data.model_copy(update={"limit": 9}),
    )
    run_benchmark(config, tmp_path, classifier=tiny)
    found = compare_surveys(tmp_path, run)
    assert (found.images, found.only, found.runs) == (9, (0, 15), ("rollout", "survey"))
    assert (
        found.methods == ("attention_rollout", "attention_rollout")
        and not found.contrasts[0].difference.any()
    )
    other = config.model_copy(
        update={"methods": survey_config(methods=["gradient_weighted_attention"]).methods}
    )
    run_benchmark(other, tmp_path / "other", classifier=tiny)
    assert compare_surveys(tmp_path, tmp_path / "other").methods == (
        "attention_rollout",
        "gradient_weighted_attention",
    )
    three = survey_config(methods=["raw_attention", "chefer_lrp"][:1], data=config.data)
    run_benchmark(three, tmp_path / "raw", classifier=tiny)
    with pytest.raises(UsageError, match="no method in common"):
        compare_surveys(run, tmp_path / "raw")


def test_shares_of_parts_of_two_methods_on_the_same_images(run, rows):
    methods = "gradient_weighted_attention", "attention_rollout"
    found = {(one.part, one.label, one.sign): one for one in compare_surveys(run, run, methods).parts}
    shares = {
        method: {row.image: row.shares for row in rows if row.method == method and row.shares is not None}
        for method in methods
    }
    both = [(one, shares[methods[1]][image]) for image, one in shares[methods[0]].items()]
    both = [(one[0], other[0]) for one, other in both if np.isfinite([one[0], other[0]]).all()]
    nose = found["nose", None, "positive"]
    expected = np.mean(both, 0)[:, PARTS.index("nose")]
    assert (nose.first, nose.second) == pytest.approx(tuple(expected))
    assert nose.images == len(both) and nose.difference == pytest.approx(expected[0] - expected[1])
    assert nose.low <= nose.difference <= nose.high and nose.low < nose.high
    assert {label for _, label, _ in found} == {None, "fake", "real"}
    assert not any(sign == "negative" for *_, sign in found), "rollout speaks against nothing"


def test_a_survey_is_no_benchmark(run, finished):
    with pytest.raises(DataError, match="holds a survey"):
        summarise(run)
    with pytest.raises(DataError, match="holds a benchmark"):
        survey_results(finished)


def test_a_class_that_the_model_lacks(survey_config, tiny):
    with pytest.raises(ConfigError, match="'fakes' is no class"):
        estimate(survey_config(target="fakes"), classifier=tiny)
    cost = estimate(survey_config(), classifier=tiny)
    assert len(cost.plan.source) == IMAGES and cost.seconds > 0 and cost.forwards == 0


def test_the_command(run, tmp_path):
    call = CliRunner().invoke
    shown = call(app, ["survey", "summary", str(run)])
    assert shown.exit_code == 0 and "label fake, kind swap" in shown.stdout and "report.html" in shown.stderr
    out = tmp_path / "pair.md"
    assert call(app, ["survey", "compare", str(run), str(run), "--out", str(out)]).exit_code == 0
    assert "22 images in common" in out.read_text()
    refused = call(app, ["survey", "compare", str(run), str(run), "--out", "pair.txt"])
    assert refused.exit_code == 2 and ".md, .html, .json" in refused.stderr
    assert call(app, ["survey", "init", str(tmp_path / "new.yaml")]).exit_code == 0
    missing = call(
        app, ["survey", str(tmp_path / "none.yaml"), "--dry-run"]
    )  # survey CONFIG is survey run CONFIG
    assert missing.exit_code == 2 and "none.yaml" in missing.stderr
