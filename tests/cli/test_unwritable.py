"""Every command that writes, where nothing can be written: one message, before the work."""

import pytest
from tiny_detector import photo
from torch import nn

COMMANDS = (
    "explain photo.png --out {place}/out",
    "explain photo.png --csv {place}/table.csv",
    "compare photo.png --out {place}/out",
    "compare photo.png --csv {place}/table.csv",
    "robustness photo.png --out {place}/out",
    "demo --out {place}/out",
    "demo --video --out {place}/out",
    "tune bench.yaml --out {place}/tuned.yaml",
    "forge photo.png --out {place}/set",
    "manifest frames.json --out {place}/manifest.csv",
    "report run --out {place}/page.html",
    "report {place}/run --data-only",
    "benchmark init {place}/bench.yaml",
    "benchmark run bench.yaml --out {place}/run",
    "benchmark summary {place}/run",
    "benchmark export run --out {place}/all.csv",
    "survey init {place}/survey.yaml",
    "survey survey.yaml --out {place}/run",
    "survey compare run other --out {place}/page.html",
    "models fetch faces --from none.whl --to {place}/faces",
)
FILES = ("table.csv", "tuned.yaml", "manifest.csv", "page.html", "all.csv")


@pytest.fixture
def idle(tmp_path, monkeypatch):
    """Inputs, some of which are missing: who looks at the place to write to first does not notice."""

    def work(self, *args, **options):
        raise AssertionError("a model was run")

    monkeypatch.setattr(nn.Module, "__call__", work)
    photo().save(tmp_path / "photo.png")
    (tmp_path / "file").write_text("here")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize("command", COMMANDS)
def test_no_folder_can_be_made(command, tmp_path, xai_command, idle):
    """A file stands in the way, which stops root as well."""
    assert xai_command("benchmark", "init", "bench.yaml").code == 0
    assert xai_command("survey", "init", "survey.yaml").code == 0
    run = xai_command(*command.format(place="file").split())
    assert run.code == 3 and run.stdout == "", run.stderr
    assert "Cannot write to" in run.stderr and "file/" in run.stderr
    assert len(run.stderr.strip().splitlines()) <= 2
    assert (tmp_path / "file").read_text() == "here"


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.endswith(FILES)])
def test_a_folder_has_the_name_of_the_file(command, tmp_path, xai_command, idle):
    assert xai_command("benchmark", "init", "bench.yaml").code == 0
    *words, path = command.format(place="folder").split()
    (tmp_path / path).mkdir()
    run = xai_command(*words, path)
    assert run.code == 3 and run.stdout == "", run.stderr
    assert f"Cannot write to {path}" in run.stderr and "Is a directory" in run.stderr
    assert list((tmp_path / path).iterdir()) == []
