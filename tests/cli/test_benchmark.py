"""`xai benchmark`: run, resume, look at, compare, export."""

import json
from functools import partial

import pandas as pd
import pytest
from tiny_detector import write_photos

from xai.report import save, saving

CONFIG = """\
name: tiny
model: {config: detector/tiny.yaml}
data: {images: in}
methods: [gradient_weighted_attention, attention_rollout]
controls: {random_seeds: 2, sobel: false, raw_attention: false, greedy_images: 0}
protocols: [{base: vit-mean, name: mean, steps: 4}]
metrics: [srg, deletion, gini]
statistics: {resamples: 99}
shard_size: 2
"""


@pytest.fixture
def config(tmp_path, detector, monkeypatch):
    monkeypatch.setattr(saving, "save", partial(save, dpi=20))  # coarse
    write_photos(tmp_path / "in", 4)
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def test_run_resume_status_export_compare(tmp_path, xai_command, config):
    run = xai_command("benchmark", "run", config)
    assert run.code == 0, run.stderr
    assert "srg under mean" in run.stdout
    for name in ("gradient_weighted_attention", "attention_rollout", "center_prior", "random"):
        assert name in run.stdout
    assert "4 of 4 work items" in run.stderr  # two shards, each with curves and maps
    out = tmp_path / "attention_results" / "tiny"
    assert {"summary.md", "summary.json", "run.json", "pictures"} <= {path.name for path in out.iterdir()}
    drawn = {path.name for path in (out / "pictures").iterdir()}
    some = {f"{name}.{ending}" for name in ("ranks_mean", "critical_difference_srg_mean",
            "curves_deletion_mean", "intervals_gini_maps") for ending in ("png", "svg")}  # fmt: skip
    assert some <= drawn, drawn
    content = json.loads((out / "summary.json").read_text())
    assert content["name"] == "tiny"

    again = xai_command("benchmark", "run", config, "--json")
    assert again.code == 0, again.stderr
    assert "4 were done before" in again.stderr
    assert json.loads(again.stdout)["parts"] == content["parts"]

    state = xai_command("benchmark", "status", out)
    assert "finished" in state.stderr
    assert json.loads(xai_command("benchmark", "status", out, "--json").stdout)["done"] == 4

    assert xai_command("benchmark", "export", out, "--out", "all.csv").code == 0
    records = pd.read_csv("all.csv")
    assert set(records["metric"]) == {"srg", "deletion", "gini"}
    assert len(records) == 4 * 5 * 3  # images, rows (random twice), metrics

    other = xai_command("benchmark", "run", config, "--out", "second")
    assert other.code == 0, other.stderr
    pairs = json.loads(xai_command("benchmark", "compare", out, "second", "--json").stdout)
    assert {pair["metric"] for pair in pairs} == {"srg", "deletion", "gini"}
    assert all(pair["identical"] for pair in pairs)
    assert "attention_rollout" in xai_command("benchmark", "compare", out, "second").stdout


def test_the_level_of_intervals_is_named_and_few_images_have_none(tmp_path, xai_command, config):
    config.write_text(CONFIG.replace("resamples: 99", "resamples: 99, alpha: 0.2"))
    run = xai_command("benchmark", "run", config)
    assert "80 % interval" in run.stdout and "95" not in run.stdout, run.stdout
    assert "[" not in run.stdout and "nan" not in run.stdout, "four images give no interval"
    out = tmp_path / "attention_results" / "tiny"
    compared = xai_command("benchmark", "compare", out, out)
    assert compared.code == 0 and "[" not in compared.stdout and "nan" not in compared.stdout
    assert "it takes 5 images" in (out / "summary.md").read_text()


def test_a_dry_run_says_the_cost_and_writes_nothing(tmp_path, xai_command, config):
    before = sorted(path.name for path in tmp_path.iterdir())
    run = xai_command("benchmark", "run", config, "--dry-run", "--json")
    assert run.code == 0, run.stderr
    cost = json.loads(run.stdout)
    assert cost["images"] == 4
    assert cost["forwards"] > 4 * 5
    assert "estimated time" in xai_command("benchmark", "run", config, "--dry-run").stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_broken_images_are_told_and_the_rest_is_measured(tmp_path, xai_command, config):
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    run = xai_command("benchmark", "run", config)
    assert run.code == 4, run.stderr
    assert "summary.md" in run.stderr
    assert "broken.png" in (tmp_path / "attention_results" / "tiny" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("metrics: [srg", "metrics: [sgr", "srg"),
        ("steps: 4", "step: 4", "steps"),
        ("attention_rollout]", "attention_rolout]", "attention_rollout"),
        ("vit-mean", "vit-meen", "vit-mean"),
        ("images: in", "images: nowhere", "nowhere"),
        ("name: tiny", "nam: tiny", "name"),
    ],
)
def test_wrong_settings_are_one_message(xai_command, config, wrong, right, says):
    config.write_text(CONFIG.replace(wrong, right))
    run = xai_command("benchmark", "run", config)
    assert run.code in (2, 3)
    assert says in run.stderr
    assert "Traceback" not in run.stderr


def test_init_writes_what_run_accepts(tmp_path, xai_command):
    run = xai_command("benchmark", "init", "mine.yaml")
    assert run.code == 0, run.stderr
    from xai.bench import read_benchmark

    assert read_benchmark(tmp_path / "mine.yaml").name == "my-benchmark"
    assert xai_command("benchmark", "init", "mine.yaml").code == 2


def test_lists(xai_command):
    assert "vit-token" in xai_command("benchmark", "protocols").stdout
    names = {one["metric"] for one in json.loads(xai_command("benchmark", "metrics", "--json").stdout)}
    assert {
        "srg", "deletion", "insertion", "morf", "lerf", "comprehensiveness", "sufficiency", "saco",
        "faithfulness_correlation", "infidelity", "sensitivity_max", "class_sensitivity", "randomization",
        "gini", "entropy", "pointing_game", "mass_accuracy", "rank_accuracy", "iou", "average_precision",
    } <= names  # fmt: skip


def test_no_run_is_one_message(xai_command):
    for command in ("status", "summary"):
        run = xai_command("benchmark", command, "nowhere")
        assert run.code == 3
        assert "nowhere" in run.stderr
