"""`xai tune`, and what `--method-config` makes of it."""

import json

import pytest
import yaml
from tiny_detector import write_photos

CONFIG = """\
model: {config: detector/tiny.yaml}
data: {images: in}
methods: [gradient_weighted_attention]
protocols: [{base: vit-mean, name: mean, steps: 4}]
statistics: {resamples: 99}
shard_size: 2
"""


@pytest.fixture
def config(tmp_path, detector):
    write_photos(tmp_path / "in", 4)
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return path


def test_tune_writes_what_explain_reads(tmp_path, xai_command, config):
    tuned = tmp_path / "tuned.yaml"
    run = xai_command("tune", config, "--out", tuned, "--folds", 2, "--json")
    assert run.code == 0, run.stderr
    found = json.loads(run.stdout)
    written = yaml.safe_load(tuned.read_text())
    assert written["options"] == found["best"]
    assert written["tuned"]["held_out_gain"]["mean"] == found["gain"]["difference"]
    assert run.stderr.strip().endswith(f"xai explain IMAGE --method-config {tuned}")

    model = ("--config", tmp_path / "detector/tiny.yaml", "--out", tmp_path / "out")
    run = xai_command("explain", tmp_path / "in", "--method-config", tuned, *model, "--json")
    assert run.code == 0, run.stderr
    method = json.loads(run.stdout)["explanations"][0]["method"]
    assert method["name"] == "gradient_weighted_attention"
    assert method["options"].items() >= found["best"].items()

    run = xai_command(
        "explain", tmp_path / "in", "--method-config", tuned, "--clamp", "none", *model, "--json"
    )
    assert json.loads(run.stdout)["explanations"][0]["method"]["options"]["clamp"] is None


def test_tune_tells_the_gain_in_words(xai_command, config, tmp_path):
    run = xai_command("tune", config, "--out", tmp_path / "tuned.yaml", "--folds", 2)
    assert "On images not used for the choice (2 folds of 4 images, mean)" in run.stdout
    assert "head fusion" in run.stdout
    assert "would seem to gain" in run.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method: chefr\n", "chefer"),
        ("methd: chefer\n", "method"),
        ("- chefer\n", "tuned.yaml"),
        ("method: [\n", "cannot be read as YAML"),
        (None, "There is no method file"),
        ("method: chefer\noptions: {layers: all_layers}\n", "has no option 'layers'"),
    ],
)
def test_a_wrong_method_file_is_one_message(tmp_path, xai_command, config, text, said):
    path = tmp_path / "tuned.yaml"
    if text is not None:
        path.write_text(text)
    run = xai_command("explain", tmp_path / "in", "--method-config", path, "--out", tmp_path / "out")
    assert run.code == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_two_methods_are_one_too_many(tmp_path, xai_command, config):
    run = xai_command("explain", tmp_path / "in", "--method-config", "x.yaml", "--method", "chefer")
    assert run.code == 2
    assert "name a method each" in run.stderr


def test_tune_without_enough_images_says_so(tmp_path, xai_command, config):
    run = xai_command("tune", tmp_path / "none.yaml")
    assert run.code == 2
    assert "There is no benchmark file" in run.stderr


@pytest.mark.parametrize(
    ("grid", "code", "message"), [("3x5+1", 3, "The grid has 16 tokens"), ("wide", 2, "wide")]
)
def test_a_grid_is_taken_as_by_other_commands(tmp_path, xai_command, config, grid, code, message):
    model = "--config", tmp_path / "detector/tiny.yaml", "--out", tmp_path / "out"
    for command in (["tune", config], ["explain", tmp_path / "in", "--method", "chefer", *model]):
        run = xai_command(*command, "--grid", grid)
        assert run.code == code
        assert message in run.stderr
