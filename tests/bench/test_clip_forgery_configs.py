"""The configurations of the published benchmark: all runs are of the same images."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.clip_forgery import RUNS
from xai.bench import read_benchmark
from xai.bench.config.reading import problems

FOLDER = Path(__file__).parents[2] / "configs" / "clip_forgery"
CONFIGS = {path.stem: read_benchmark(path) for path in FOLDER.glob("*.yaml")}


def test_all_are_read_by_the_program():
    assert CONFIGS.keys() == {*RUNS, "calibration"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_name_in_them_exists(name):
    assert list(problems(CONFIGS[name])) == []


def test_rows_that_return_are_the_same_method():
    """A name means the same options in every run, so that runs may be read side by side."""
    seen: dict[str, object] = {}
    for name in RUNS:
        for entry in CONFIGS[name].methods:
            assert seen.setdefault(entry.full_name, (entry.method, entry.options)) == (
                entry.method,
                entry.options,
            )


def test_masking_comes_first_and_the_class_is_the_true_one():
    for config in CONFIGS.values():
        assert config.protocols[0].base == "vit-token"
        assert all(protocol.target == "label" for protocol in config.protocols)
