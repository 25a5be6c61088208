"""Methods, metrics and operators of the user's own code in a benchmark's YAML: run only if trusted."""

import pickle
import re
import sys

import numpy as np
import pytest
import yaml
from tiny_detector import write_detector
from typer.testing import CliRunner

from xai.bench import (
    RunContext,
    page_of_run,
    read_benchmark,
    read_records,
    read_run,
    run_benchmark,
    summarise,
)
from xai.bench.run.ray_worker import Expected, Worker
from xai.cli.main import app
from xai.core import ConfigError, DataError

CODE = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xai.attr import MethodInfo, PatchAttribution
from xai.metrics import MetricInfo, register
from xai.perturb import Mean

Path(__file__).with_name("ran").touch()


class Left(PatchAttribution):
    info = MethodInfo(
        name="NAME_left", family="control", class_sensitive=False, signed=False, forwards=0, backwards=0,
        reference="none", summary="The left half.",
    )

    def __init__(self, forward_func, height: float = 1.0):
        super().__init__(forward_func)
        self.height = height

    def _relevance(self, pixels, targets, args):
        grid = self._grid(pixels)
        maps = pixels.new_zeros((len(targets), len(pixels), grid.rows, grid.cols))
        maps[..., : grid.cols // 2] = self.height
        return maps


@register(MetricInfo(
    name="NAME_largest", higher_is_better=True, range=(None, None), reference="none", summary="The maximum.",
    needs="map", against_random=False,
))
def largest(relevance):
    return relevance.flatten(1).amax(1)


@dataclass(frozen=True)
class Black(Mean):
    name: ClassVar[str] = "NAME_black"
"""


@pytest.fixture
def own(config, tmp_path, request):
    """A YAML that names code beside it; the module has another name in each test, as Python keeps modules."""
    module = "own_" + re.sub(r"\W", "_", request.node.name)
    write_detector(tmp_path)
    (tmp_path / f"{module}.py").write_text(CODE.replace("NAME", module))
    content = config().model_dump(mode="json", exclude_unset=True) | {
        "model": "tiny.yaml",
        "methods": [{"method": f"{module}:Left", "options": {"height": 2.0}}, "attention_rollout"],
        "metrics": ["deletion", f"{module}:largest"],
        "protocols": [{"base": "vit-mean", "name": "black", "operator": f"{module}:Black", "steps": 4}],
    }
    path = tmp_path / "bench.yaml"
    path.write_text(yaml.safe_dump(content))
    yield path, module
    sys.modules.pop(module, None)


def test_code_runs_only_if_it_is_trusted(own, tmp_path):
    path, module = own
    with pytest.raises(ConfigError) as refused:
        read_benchmark(path)
    lines = str(refused.value).splitlines()
    named = [f"Method '{module}:Left'", f"Metric '{module}:largest'", f"Operator '{module}:Black'"]
    for name in named:
        (line,) = [one for one in lines if name in one]
        assert re.match(rf"{re.escape(str(path))}:\d+: ", line) and "--trust-code" in line
    found = CliRunner().invoke(app, ["benchmark", "run", str(path), "--out", str(tmp_path / "run")])
    assert found.exit_code == 2 and "--trust-code" in found.output
    assert not (tmp_path / "ran").exists()


def test_a_trusted_run_names_its_code_and_goes_on(own, tmp_path, monkeypatch):
    path, module = own
    run, name = tmp_path / "run", f"{module}:Left"
    command = ["benchmark", "run", str(path), "--out", str(run), "--trust-code"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    records = read_records(run)
    largest = records[records["metric"] == f"{module}:largest"]
    assert np.allclose(largest.loc[largest["method"] == name, "value"], 2.0)
    (described,) = [one.content for one in read_run(run).methods if one.name == name]
    assert (described["method"], described["code"]) == (f"{module}_left", name)
    assert described["options"] == {"height": 2.0}
    assert "code" not in read_run(run).methods[1].content
    assert read_run(run).protocols[0].operator.name == f"{module}_black"
    assert name in page_of_run(run).images[0].maps
    assert {part.metric for part in summarise(run).parts} == {"deletion", f"{module}:largest"}
    next((run / "parts").iterdir()).unlink()
    settings = read_benchmark(path, trust_code=True)
    assert run_benchmark(settings, run, trust_code=True).resumed == 5
    _forget(module, monkeypatch)
    with pytest.raises(DataError, match=f"has scores of {module}:largest, code that was not imported"):
        summarise(run)


def test_the_results_of_a_trusted_run_are_read_with_its_code(own, tmp_path, monkeypatch):
    path, module = own
    run = str(tmp_path / "run")
    run_benchmark(read_benchmark(path, trust_code=True), run, trust_code=True)
    monkeypatch.chdir(tmp_path)
    commands = (["benchmark", "summary", run], ["benchmark", "export", run, "--out", "records.csv"],
                ["benchmark", "compare", run, run], ["report", run])  # fmt: skip
    for command in commands:
        (tmp_path / "ran").unlink(missing_ok=True)
        _forget(module, monkeypatch)
        refused = CliRunner().invoke(app, command)
        assert refused.exit_code == 3 and "--trust-code" in refused.output, command
        assert not (tmp_path / "ran").exists()
        found = CliRunner().invoke(app, [*command, "--trust-code"])
        assert found.exit_code == 0, found.output
    assert f"{module}:largest" in (tmp_path / "records.csv").read_text()


def test_a_worker_imports_it_only_if_told(own, tmp_path, monkeypatch):
    """In another process nothing is imported yet: names are refused there as here."""
    path, module = own
    config = read_benchmark(path, trust_code=True)
    sent = [pickle.dumps(RunContext(config, tmp_path, trust_code=trusted)) for trusted in (False, True)]
    _forget(module, monkeypatch)
    (tmp_path / "ran").unlink()
    untrusted, trusted = map(pickle.loads, sent)
    report = Worker(untrusted, Expected({}, ""), 1).ready()
    assert isinstance(report.error, ConfigError) and "--trust-code" in str(report.error)
    assert not (tmp_path / "ran").exists()
    trusted.import_code()
    assert (tmp_path / "ran").exists()
    assert trusted.configurations[0].code == f"{module}:Left"


def test_what_cannot_be_imported_is_said_with_its_line(own):
    path, module = own
    path.write_text(path.read_text().replace(f"{module}:Black", f"{module}:White"))
    with pytest.raises(ConfigError, match=rf"bench\.yaml:\d+: Operator '{module}:White' cannot be used"):
        read_benchmark(path, trust_code=True)


def _forget(module, monkeypatch):
    from xai.attr import METHODS
    from xai.metrics import METRICS
    from xai.perturb import OPERATORS

    monkeypatch.delitem(sys.modules, module)
    for registry in (METHODS, METRICS, OPERATORS):
        kept = {k: v for k, v in registry._import_paths.items() if not k.startswith(module)}
        monkeypatch.setattr(registry, "_import_paths", kept)
        entries = {k: v for k, v in registry._entries.items() if not k.startswith(module)}
        monkeypatch.setattr(registry, "_entries", entries)
