from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_detector import classifier, write_detector, write_photos
from typer.testing import CliRunner

import xai.report
from xai.bench import BenchmarkConfig, run_benchmark
from xai.cli.main import app
from xai.report import save


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch):
    """The pictures' looks are tested elsewhere; here they only cost time."""
    monkeypatch.setattr(xai.report, "save", lambda figure, path: save(figure, path, dpi=10))


@dataclass(frozen=True)
class Run:
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def xai_command(tmp_path, monkeypatch):
    """Run the command line in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Run:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return Run(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def detector(tmp_path) -> Path:
    """The YAML file of a tiny detector."""
    (tmp_path / "detector").mkdir()
    return write_detector(tmp_path / "detector")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished run over three photographs; what a command writes beside it stays there."""
    folder = tmp_path_factory.mktemp("finished")
    write_photos(folder / "in", 3)
    content = {
        "name": "tiny",
        "data": {"images": str(folder / "in")},
        "methods": ["gradient_weighted_attention", "attention_rollout"],
        "controls": {"random_seeds": 1, "sobel": False, "raw_attention": False, "greedy_images": 0},
        "protocols": [{"base": "vit-mean", "name": "mean", "steps": 4}],
        "metrics": ["srg", "deletion", "gini"],
        "statistics": {"resamples": 99},
    }
    run_benchmark(
        BenchmarkConfig.model_validate(content), folder / "run", classifier=classifier(size=(32, 32))
    )
    return folder / "run"
