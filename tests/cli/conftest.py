from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_detector import write_detector
from typer.testing import CliRunner

import xai.report
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
