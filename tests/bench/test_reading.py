"""What reads a stored run needs neither torch nor the model: names and words stand in the catalogue."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from shutil import copytree

import pytest

from benchmarks.documents import catalogue_of_registries
from xai.attr import METHODS, PRESETS, full_options, preset_of
from xai.bench.config import lookup
from xai.core import UsageError, catalogue
from xai.metrics import METRICS

COMMAND = """
import sys
from xai.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(sorted({"torch", "transformers", "captum", "pandas"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("command", "run"),
    [
        (("report",), "everything"),
        (("report", "--lang", "zh"), "finished"),
        (("benchmark", "summary"), "finished"),  # of everything it draws pictures for 15 seconds
    ],
)
def test_a_stored_run_is_read_without_torch(
    request: pytest.FixtureRequest, tmp_path: Path, command: tuple[str, ...], run: str
) -> None:
    folder = copytree(request.getfixturevalue(run), tmp_path / "run")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *command, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue as `make docs` would write it now."""
    file = tmp_path / "catalogue.json"
    file.write_text(catalogue_of_registries(), "utf-8")
    monkeypatch.setattr(catalogue, "FILE", file)
    content = catalogue.catalogue.__wrapped__()
    monkeypatch.setattr(lookup, "catalogue", lambda: content)


@pytest.mark.usefixtures("written")
def test_the_catalogue_says_what_the_registries_say() -> None:
    for name, method in METHODS.items():
        assert lookup.method_info(name) == method.info
    for name, info in METRICS.items():
        facts, said = asdict(lookup.metric_facts(name)), vars(info)
        assert facts == {key: said[key] for key in facts}
        assert lookup.is_metric(name)


@pytest.mark.usefixtures("written")
def test_presets_are_found_by_their_options() -> None:
    for name in METHODS:
        assert lookup.preset_of(name, {}) == preset_of(name, {})
    for preset in PRESETS.values():
        assert lookup.preset_of(preset.method, preset.options) == preset.name
        assert lookup.preset_of(preset.method, full_options(preset.method, preset.options)) == preset.name
        assert lookup.preset_of(preset.method, {**preset.options, "of_no_preset": 1}) is None


def test_what_is_nowhere_is_refused_or_none() -> None:
    assert lookup.method_info("no_method") is None
    assert lookup.preset_of("no_method", {}) is None
    assert not lookup.is_metric("no_metric")
    with pytest.raises(UsageError, match="no_metric"):
        lookup.metric_facts("no_metric")
