import json
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from xai.attr import DEFAULT_PRESET
from xai.bench import BenchmarkConfig, json_schema, read_benchmark, starter_config
from xai.bench.config.reading import resolve_protocols
from xai.bench.config.schema import Kind
from xai.core import ConfigError
from xai.data.forgery import KINDS

GOOD = """\
data: {images: [photos]}
methods:
  - saliency
  - {name: two, method: gradient_weighted_attention, options: {layers: all_layers}}
protocols: [vit-token, {base: vit-mean, steps: 7}]
"""


def read(tmp_path: Path, text: str) -> BenchmarkConfig:
    path = tmp_path / "bench.yaml"
    path.write_text(text)
    return read_benchmark(path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_the_starter_is_valid_as_it_is(tmp_path):
    config = read(tmp_path, starter_config())
    assert [entry.full_name for entry in config.methods] == [
        "faithful",
        "gradient_weighted_attention",
        "gwa_clamped",
        "attention_rollout",
    ]
    first = config.methods[0]
    assert first.method == DEFAULT_PRESET.method and first.options.items() <= DEFAULT_PRESET.options.items()
    assert config.data.forgeries.count == 200


def test_every_kind_of_forgery_can_be_asked_for(tmp_path):
    assert get_args(Kind) == tuple(KINDS)
    forged = GOOD.replace("{images: [photos]}", f"{{forgeries: {{kinds: [{', '.join(KINDS)}], size: 64}}}}")
    asked = read(tmp_path, forged).data.forgeries
    assert asked.kinds == tuple(KINDS) and asked.size == 64
    assert "bench.yaml:1: data.forgeries.kinds[1]" in complaint(tmp_path, forged.replace("resam", "reasm"))
    assert "bench.yaml:1: data.forgeries.size" in complaint(tmp_path, forged.replace("size: 64", "size: 8"))


def test_the_schema_allows_what_the_reader_allows():
    import yaml

    schema = json.loads(json_schema())
    jsonschema.validate(yaml.safe_load(starter_config()), schema)
    jsonschema.validate(yaml.safe_load(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD + "sed: 1\n"), schema)


def test_words_and_mappings_mean_the_same(tmp_path):
    short = read(tmp_path, GOOD)
    long = read(
        tmp_path, GOOD.replace("- saliency", "- {method: saliency}").replace("vit-token", "{base: vit-token}")
    )
    assert short == long


def test_paths_are_taken_from_the_file_s_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "bench.yaml"
    path.write_text(GOOD + "model: {config: ../tiny.yaml, weights: /abs/tiny.pth}\n")
    config = read_benchmark(path)
    assert config.data.images == (str(tmp_path / "deep" / "photos"),)
    assert config.model.config.resolve() == tmp_path / "tiny.yaml"
    assert config.model.weights == Path("/abs/tiny.pth")
    path.write_text(GOOD + "model: tiny.yaml\n")
    assert read_benchmark(path).model.spec == str(tmp_path / "deep" / "tiny.yaml")
    path.write_text(GOOD + "model: demo\n")
    assert read_benchmark(path).model.spec == "demo"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        ("sed: 1", 6, ["unknown key 'sed'", "'seed'"]),
        ("controls: {random_seed: 1}", 6, ["unknown key 'random_seed' in controls", "'random_seeds'"]),
        ("seed: many", 6, ["seed:", "got 'many'"]),
        ("batch_size: 0", 6, ["batch_size", "greater than 0"]),
        ("metrics:\n  - srg\n  - deletoin", 8, ["unknown metric 'deletoin'", "'deletion'"]),
        ("metrics: [infidelity]", 6, ["belongs under checks.metrics"]),
        ("checks:\n  metrics:\n    - srg", 8, ["belongs under metrics"]),
        ("metrics: [srg, srg]", 6, ["listed twice"]),
        ("model: {spec: demo, config: a.yaml}", 6, ["exactly one of spec and config"]),
        ("device: cpu\nmodel: {spec: demo, device: cuda}", 1, ["device is said twice"]),
        ("explain: logits", 6, ["'margin' or 'logit'"]),
        ("controls: 3", 6, ["controls: Input should be a mapping; got 3"]),
        ("metrics: []", 6, ["List should have at least 1 item"]),
    ],
)
def test_wrong_lines_are_named(tmp_path, change, line, words):
    said = complaint(tmp_path, GOOD + change + "\n")
    assert f"bench.yaml:{line}: " in said
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("saliency", "salency", 3, ["Unknown method 'salency'", "'saliency'"]),
        ("options: {layers", "options: {layer", 4, ["no option 'layer'", "'layers'"]),
        ("options:", "opions:", 4, ["unknown key 'opions' in methods[1]", "'options'"]),
        ("name: two", "name: saliency", 4, ["two methods are named 'saliency'"]),
        ("name: two", "name: random_0", 2, ["'random_0' is the name of a control"]),
        ("name: two", "name: random", 2, ["'random' is the name of a control"]),
        ("vit-token", "vit-tokens", 5, ["Unknown protocol 'vit-tokens'", "'vit-token'"]),
        ("steps: 7", "stpes: 7", 5, ["unknown key 'stpes' in protocols[1]", "'steps'"]),
        ("steps: 7", "operator: {name: blur, kernel: x}", 5, ["kernel='x'", "a whole number"]),
        ("steps: 7", "name: maps", 5, ["'maps' is the name of other records"]),
        ("steps: 7", "operator: blurr", 5, ["blurr", "'blur'"]),
        ("{base: vit-mean, steps: 7}", "vit-token", 5, ["two protocols are named 'vit-token'"]),
        (
            "data: {images: [photos]}",
            "data: {limit: 3}",
            1,
            ["exactly one of images, manifest, shards and forgeries"],
        ),
        ("data: {images: [photos]}", "data: {images: [a], images: [b]}", 1, ["'images' is said twice"]),
    ],
)
def test_wrong_names_are_named(tmp_path, old, new, line, words):
    said = complaint(tmp_path, GOOD.replace(old, new))
    assert f"bench.yaml:{line}: " in said
    assert all(word in said for word in words)


def test_a_wrong_item_is_said_once(tmp_path):
    said = complaint(tmp_path, GOOD.replace("base: vit-mean", "base: 3").replace("vit-token, ", ""))
    assert said.count("bench.yaml:") == 1
    assert "protocols[0].base" in said


def test_every_problem_is_said_at_once(tmp_path):
    said = complaint(tmp_path, GOOD + "sed: 1\nbatch_sise: 2\n")
    assert "bench.yaml:6:" in said
    assert "bench.yaml:7:" in said


def test_a_changed_protocol_has_a_hash_and_a_name_of_its_own(tmp_path):
    config = read(
        tmp_path, GOOD.replace("steps: 7", "steps: 7, operator: {name: blur, kernel: 5, sigma: 1.0}")
    )
    token, changed = resolve_protocols(config)
    assert token.name == "vit-token"
    assert changed.steps == 7
    assert changed.operator.describe()["kernel"] == 5
    assert changed.hash != resolve_protocols(read(tmp_path, GOOD))[1].hash


@pytest.mark.parametrize("text", ["", "- a\n", "data: [", "3"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    assert "bench.yaml" in complaint(tmp_path, text)


def test_a_missing_file_and_missing_keys(tmp_path):
    with pytest.raises(ConfigError, match="no benchmark file"):
        read_benchmark(tmp_path / "none.yaml")
    assert "methods: is missing" in complaint(tmp_path, "data: {images: [a]}\n")


def test_wrong_names_are_found_without_a_file(config):
    with pytest.raises(ConfigError, match="deletoin"):
        resolve_protocols(config(metrics=["deletoin"]))
