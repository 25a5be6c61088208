"""The configurations that come with the repository say what their comments promise."""

from pathlib import Path

import pytest

from xai.bench import read_benchmark, read_survey
from xai.bench.config.reading import problems, resolve_protocols
from xai.data import forged_samples
from xai.metrics import METRICS

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    "name",
    ["clever_hans", "demo", "deepfake_clip", "methods", "methods_costly", "methods_libra", "rise"],
)
def test_every_name_in_them_exists(name):
    config = read_benchmark(CONFIGS / f"{name}.yaml")
    assert list(problems(config)) == []
    assert config.controls.random_seeds and config.controls.center_prior


def test_the_survey_is_of_ten_thousand_crops():
    config = read_survey(CONFIGS / "survey.yaml")
    assert list(problems(config)) == []
    asked = config.data.forgeries
    assert asked.count * (1 + asked.pristine) == 10_000


def test_the_demo_has_enough_images_groups_and_methods():
    config = read_benchmark(CONFIGS / "demo.yaml")
    asked = config.data.forgeries
    samples = forged_samples(asked.photos, asked.count, asked.kinds, asked.seed, asked.pristine)
    counts = {group: samples.groups.count(group) for group in samples.groups}
    assert len(samples) >= 200 and len(counts) >= 10 and len(set(counts.values())) == 1
    assert len(config.methods) >= 6
    needs = {METRICS[metric].needs for metric in config.metrics}
    assert {"perturbation", "mask"} <= needs
    assert len({protocol.operator for protocol in resolve_protocols(config)}) > 1


def test_costly_methods_are_compared_on_the_same_forgeries():
    plain, costly = (read_benchmark(CONFIGS / f"{name}.yaml") for name in ("methods", "methods_costly"))
    shared = {"count"}
    assert plain.data.forgeries.model_dump(exclude=shared) == costly.data.forgeries.model_dump(exclude=shared)
    assert plain.data.forgeries.count >= 200 and plain.protocols == costly.protocols


def test_rise_is_the_published_protocol():
    (protocol,) = resolve_protocols(read_benchmark(CONFIGS / "rise.yaml"))
    assert protocol.name == "rise" and protocol.counts((224, 224))[:2] == (0, 1792)
    assert len(protocol.counts((224, 224))) == 29
    assert (protocol.value, protocol.target, protocol.ties) == ("probability", "predicted", "stable")


def test_paths_of_the_deepfake_template_are_beside_it():
    config = read_benchmark(CONFIGS / "deepfake_clip.yaml")
    assert config.data.manifest == CONFIGS / "faces.csv"
    assert config.model.config == CONFIGS / "clip.yaml" and config.model.config.is_file()
