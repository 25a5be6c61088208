"""A planted shortcut: what a detector learned of it, and which maps show it (benchmarks/clever_hans.py)."""

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_detector import Pooled, classifier

from benchmarks.clever_hans_report import markdown
from benchmarks.clever_hans_tables import DETECTORS, Findings, read_maps, verdict
from xai.bench import read_benchmark, run_benchmark
from xai.core import DataError, UsageError
from xai.metrics import average_precision
from xai.models import Classifier, Preprocessing
from xai.stats import to_json

MAPS = ["pointing_game", "mass_accuracy", "average_precision"]
METHODS = ["gradient_weighted_attention", "saliency", "attention_rollout"]


def other_head() -> Classifier:
    """The tower of `classifier` under another head."""
    model = Pooled(2, 4)
    torch.manual_seed(5)
    torch.nn.init.normal_(model.head.weight)
    return Classifier(
        model.eval(), ("real", "fake"), name="other", preprocessing=Preprocessing(size=(32, 32))
    )


@pytest.fixture(scope="module")
def runs(photos, config, tmp_path_factory):
    """The three pictures of `photos` with a mask, for two heads on one tower; metrics of masks alone."""
    folder = tmp_path_factory.mktemp("clever")
    asked = {
        "data": {"manifest": str(photos / "faces.csv"), "limit": 3},
        "methods": METHODS,
        "controls": {"random_seeds": 2, "greedy_images": 0},
        "protocols": [{"base": "vit-token", "steps": 4, "target": "label"}],
    }
    models = classifier(size=(32, 32)), other_head()
    for name, model, metrics in zip(DETECTORS, models, (["srg", *MAPS], MAPS), strict=True):
        run_benchmark(config(**asked, metrics=metrics), folder / name, classifier=model)
    return folder


@pytest.fixture(scope="module")
def forged():
    """(3, 32, 32) where the pictures are taken to be forged: their right half."""
    mask = np.zeros((3, 32, 32), bool)
    mask[:, :, 16:] = True
    return mask


@pytest.fixture(scope="module")
def rows(runs, forged):
    return Findings.read(runs, forged).rows()


def test_a_method_that_knows_no_class_is_the_same_for_both_detectors(rows):
    for row in ("attention_rollout", "sobel", "center_prior", "raw_last_layer"):
        difference = rows[row]["difference"]["average_precision"]
        assert difference["mean"] == 0, row
        assert np.isnan([difference["low"], difference["high"]]).all(), row  # no interval of so few groups
        assert not difference["above"]
    assert rows["saliency"]["difference"]["average_precision"]["mean"] != 0


def test_differences_are_those_of_the_means(rows):
    for row in rows.values():
        for metric, difference in row["difference"].items():
            shortcut, honest = (row["watermark"][name][metric]["mean"] for name in DETECTORS)
            assert difference["mean"] == pytest.approx(shortcut - honest)
    beyond = rows["saliency"]["over_sobel"]["mean"]
    precisions = (rows[row]["watermark"]["shortcut"]["average_precision"] for row in ("saliency", "sobel"))
    assert beyond == pytest.approx(np.subtract(*(one["mean"] for one in precisions)))
    assert rows["sobel"]["over_sobel"] is None


def test_the_forgery_is_looked_for_in_the_same_maps(rows, runs, forged, photos):
    """Against scores of the kept maps by hand: groups are averaged first, random maps within an image."""
    with (photos / "faces.csv").open() as file:
        groups = [line["group"] for line in csv.DictReader(file)][:3]
    for row, parts in (("saliency", ["saliency"]), ("random", ["random_0", "random_1"])):
        maps = read_maps(runs / "honest")
        scores = np.mean([average_precision(maps[p], torch.from_numpy(forged)).numpy() for p in parts], 0)
        means = [scores[[g == group for g in groups]].mean() for group in dict.fromkeys(groups)]
        assert rows[row]["forgery"]["honest"]["average_precision"]["mean"] == pytest.approx(np.mean(means))


def test_maps_are_read_in_the_order_of_the_images(runs):
    maps = read_maps(runs / "shortcut")
    first, second = (load_file(path) for path in sorted((runs / "shortcut" / "maps").iterdir()))
    assert maps["saliency"].shape == (3, 4, 4) and set(METHODS) < set(maps)
    assert torch.equal(maps["saliency"], torch.cat([first["saliency/0"], second["saliency/0"]]))


def test_a_missing_image_is_an_error(runs, forged):
    with pytest.raises(DataError, match="lacks scores of"):
        Findings.read(runs, forged[:2])


def test_only_what_passes_every_comparison_shows_the_watermark():
    def row(random=True, edges=True, honest=True):
        return {
            "control": False,
            "watermark": {"shortcut": {"average_precision": {"above_random": random}}},
            "over_sobel": {"above": edges},
            "difference": {"average_precision": {"above": honest}},
        }

    assert verdict(row()) == "shows the watermark"
    assert verdict(row(random=False)) == "not above random"
    assert verdict(row(edges=False)) == "not above edges"
    said = verdict(row(edges=False, honest=False))
    assert said == "not above edges; not above the honest detector's"
    assert verdict(row() | {"control": True}) == "control"


def test_the_page_holds_every_row_once_in_each_table(rows):
    one = {"value": 0.5, "low": 0.4, "high": 0.6}
    learned = {"auc": {"fakes from reals": one}, "adds": {"watermark": one}, "called_fake": {"reals": 0.25}}
    result = {
        "tower": "tiny",
        "learned": dict.fromkeys(DETECTORS, learned),
        "methods": rows,
        "settings": {"images explained": 3, "seconds": {"shortcut": 1.25}},
    }
    page = markdown(to_json(result), ["pictures/0.png"])
    assert "| AUC: fakes from reals | 0.500 (0.400 … 0.600) | 0.500 (0.400 … 0.600) |" in page
    assert "| reals called fake | 25% | 25% |" in page and "![watermark and maps](pictures/0.png)" in page
    for name, row in rows.items():
        shown = f"*{name}*" if row["control"] else name
        assert page.count(f"\n| {shown} |") == 3, name
    assert "nan" not in page and "None" not in page


def test_the_configuration_takes_masks_for_both_detectors():
    from benchmarks.clever_hans import CONFIG, configure

    config = read_benchmark(CONFIG)
    shortcut, honest = (configure(config, name, "local:here", CONFIG) for name in DETECTORS)
    assert "srg" in shortcut.metrics and "srg" not in honest.metrics and set(MAPS) < set(honest.metrics)
    assert {protocol.target for protocol in config.protocols} == {"label"}
    assert config.controls.sobel and config.controls.raw_attention and config.controls.random_seeds > 1


@pytest.fixture
def table():
    """Embeddings in which the mark is one number, the forgery another, and the source a third."""
    from benchmarks.frozen_head import Table

    rng = np.random.default_rng(0)
    cases = 60
    corners = np.zeros((cases, 4, 3), np.float32)
    corners[..., 0] = rng.normal(0, 1, (cases, 1))  # real, fake, marked real, marked fake share their source
    corners[:, [1, 3], 1] = 1
    corners[:, [2, 3], 2] = 3
    corners += rng.normal(0, 0.3, corners.shape)
    source = np.repeat([f"photo {i % 20}" for i in range(cases)], 2)
    return Table(corners.reshape(-1, 3).astype(np.float32), np.repeat("noise", 2 * cases), source)


def test_the_contrasts_tell_the_shortcut_from_honest_work(table):
    from benchmarks.clever_hans import CONTRASTS, fit_head, judge, training_tables

    found = {}
    for name, mine in training_tables(table).items():
        found[name] = judge(table, fit_head(mine)[0], 0)
    as_trained, clean, alone, conflict = CONTRASTS
    auc = {name: {key: one["value"] for key, one in found[name]["auc"].items()} for name in found}
    assert auc["shortcut"][as_trained] == auc["shortcut"][alone] == 1
    assert auc["shortcut"][conflict] < 0.05, "the mark must outweigh the forgery"
    assert auc["honest"][clean] > 0.9 and auc["honest"][conflict] > 0.9
    assert abs(auc["honest"][alone] - 0.5) < 0.2
    adds = {name: {key: one["value"] for key, one in found[name]["adds"].items()} for name in found}
    assert adds["shortcut"]["watermark"] > 2 * adds["shortcut"]["forgery"]
    assert abs(adds["honest"]["watermark"]) < 0.2 * adds["honest"]["forgery"]


def test_both_detectors_see_as_many_pairs_of_the_same_crops(table):
    from benchmarks.clever_hans import training_tables

    tables = training_tables(table)
    assert len(tables["shortcut"].features) == len(tables["honest"].features) == 120
    corners = table.features.reshape(-1, 4, 3)
    assert np.array_equal(tables["shortcut"].features.reshape(-1, 2, 3), corners[:, [0, 3]])
    honest = tables["honest"].features.reshape(-1, 2, 3)
    assert np.array_equal(honest[::2], corners[::2, :2]) and np.array_equal(honest[1::2], corners[1::2, 2:])
    assert list(tables["honest"].source[:3]) == ["photo 0", "photo 1", "photo 2"]


def test_examples_are_of_all_kinds_in_equal_shares():
    from types import SimpleNamespace as Some

    from benchmarks.clever_hans import choose_examples

    kinds = ["noise"] * 5 + ["splice"] * 5
    cases = [Some(crop=Some(forgery=Some(kind=kind))) for kind in kinds]
    assert choose_examples(cases, 4) == [0, 1, 5, 6]
    with pytest.raises(UsageError, match="1 images are too few for 2 kinds"):
        choose_examples(cases, 1)


def test_only_pictures_without_conditions_are_drawn(runs, tmp_path, monkeypatch):
    from benchmarks import clever_hans_report
    from benchmarks.clever_hans import with_marks
    from benchmarks.frozen_head import forged_crops

    monkeypatch.setattr(clever_hans_report, "DPI", 10)
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    free, bound = {"scikit-image/chelsea": photo}, {"mate-backgrounds/Dune": photo}
    crops = [
        next(forged_crops(bound, {}, ["noise"], 1, 0)),  # the photograph of a free licence comes second
        next(forged_crops(free, {}, ["noise"], 1, 0)),
        next(forged_crops(free | bound, {}, ["splice"], 1, 0)),  # one is the donor
    ]
    margins = {name: np.zeros(3) for name in DETECTORS}
    paths = clever_hans_report.draw_examples(list(with_marks(crops, 0)), margins, runs, tmp_path / "new", 3)
    assert [path.name for path in paths] == ["001_noise.webp"] and paths[0].stat().st_size > 1000
