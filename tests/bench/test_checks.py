import pytest
import torch

from xai import attr, metrics
from xai.bench import read_records, run_benchmark
from xai.bench.run.store import Store
from xai.core import Margin, ModelError
from xai.data import read_image
from xai.metrics import captum_metrics

NAMES = ["infidelity", "sensitivity_max", "class_sensitivity", "randomization", "robustness_jpeg"]


@pytest.fixture(scope="module")
def checked(config, tiny, tmp_path_factory):
    out = tmp_path_factory.mktemp("checked")
    run_benchmark(config(metrics=["gini"], checks={"metrics": NAMES, "images": 3}), out, classifier=tiny)
    return read_records(out)


def test_checks_look_at_the_first_images_only(checked):
    checks = checked[checked["protocol"] == "checks"]
    assert set(checks["metric"]) == set(NAMES)
    assert set(checks["image"]) == {"0", "1", "2"}  # the third lies in the second shard
    assert len(checks) == 3 * 6 * len(NAMES)
    assert set(checked[checked["metric"] == "gini"]["image"]) == set("01234")


def test_a_map_that_ignores_model_and_class_is_found_out(checked):
    value = checked.groupby(["metric", "method"])["value"].mean()
    assert value["randomization", "random_0"] == pytest.approx(1)
    assert value["randomization", "gradient_weighted_attention"] < 0.95
    assert value["class_sensitivity", "attention_rollout"] == pytest.approx(0)
    assert value["class_sensitivity", "gradient_weighted_attention"] > 0.05
    assert value["sensitivity_max", "center_prior"] == 0
    assert value["sensitivity_max", "gradient_weighted_attention"] > 0
    assert value["robustness_jpeg", "center_prior"] == 1
    assert value["robustness_jpeg", "gradient_weighted_attention"] < 1


def test_the_cascade_is_kept_stage_by_stage(checked):
    cascade = checked[checked["metric"] == "randomization"]
    assert (cascade["curve"].map(len) == 6).all()  # head, four blocks, embeddings
    assert (cascade["fractions"].map(lambda shares: shares[-1]) == 1).all()


def test_values_equal_the_metrics_by_hand(checked, tiny, photos):
    pixels = tiny.preprocess(read_image(photos / "1.png"))[None]
    target = int(tiny(pixels).argmax())
    method = attr.create("gradient_weighted_attention", tiny)
    relevance = method.attribute_patches(pixels, Margin(target))
    by_hand = {
        "infidelity": captum_metrics.infidelity(tiny, pixels, relevance, Margin(target), seed=0),
        "sensitivity_max": captum_metrics.sensitivity_max(
            method.attribute_patches, pixels, Margin(target), seed=0
        ),
        "class_sensitivity": metrics.class_sensitivity(
            method.attribute_patches(pixels, target), method.attribute_patches(pixels, 1 - target)
        ),
    }
    found = checked[(checked["image"] == "1") & (checked["method"] == "gradient_weighted_attention")]
    for name, value in by_hand.items():
        assert found.set_index("metric")["value"][name] == pytest.approx(float(value[0]), abs=1e-5)


def test_a_model_that_cannot_be_checked_is_said_and_costs_nothing_else(config, tiny, tmp_path, monkeypatch):
    def failing(*args, **options):
        raise ModelError("no sequence of blocks")

    monkeypatch.setattr("xai.bench.run.checks.randomization", failing)
    checks = {"metrics": ["class_sensitivity", "randomization"], "images": 2}
    run_benchmark(config(checks=checks), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    assert "class_sensitivity" in set(frame["metric"])
    assert "randomization" not in set(frame["metric"])
    said = {(one.image, one.reason) for one in Store(tmp_path).exclusions()}
    assert said == {
        ("0", "randomization: no sequence of blocks"),
        ("1", "randomization: no sequence of blocks"),
    }


def test_a_method_that_fails_in_a_check_is_an_exclusion(config, tiny, tmp_path, monkeypatch):
    import xai.bench.run.checks as module

    explained, calls = module._explained, []

    def failing(context, *arguments, **options):
        maps = explained(context, *arguments, **options)
        calls.append(1)
        if len(calls) % 2 == 0:  # the second of the two classes
            maps[0, 1] = torch.nan
        return maps

    monkeypatch.setattr(module, "_explained", failing)
    checks = {"metrics": ["class_sensitivity"], "images": 2}
    run_benchmark(config(checks=checks), tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    frame = frame[frame["metric"] == "class_sensitivity"]
    assert set(frame["image"]) == {"0", "1"}
    failed = frame[frame["method"] == "gradient_weighted_attention"]
    assert list(failed["image"]) == ["0"]
    (said,) = Store(tmp_path).exclusions()
    assert (said.image, said.method) == ("1", "gradient_weighted_attention")
    assert "class_sensitivity" in said.reason


def test_the_classes_of_one_batch_may_differ(config, tiny, tmp_path):
    protocols = [{"base": "vit-mean", "target": "label", "steps": 4}]
    checks = {"metrics": ["infidelity", "class_sensitivity"], "images": 5}
    run = config(protocols=protocols, metrics=["gini"], checks=checks, shard_size=5)
    run_benchmark(run, tmp_path, classifier=tiny)
    frame = read_records(tmp_path)
    assert set(frame["target"]) == {"real", "fake"}
    assert torch.isfinite(torch.tensor(frame["value"].to_numpy())).all()
