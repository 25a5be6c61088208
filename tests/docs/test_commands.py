"""What documents tell one to type works: every command is run with tiny detectors, or it is said why not.

All of it is run by `make docs-check`; in the suite the page that everybody begins with. Every command is
looked up, too: it exists, with the options shown.
"""

import os
import re
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree

import pytest
import torch
import typer
from document_world import POINTS, ROOT, blocks, commands, documents, run
from tiny_detector import Pooled, photo

import xai
from xai.cli.main import app

COMMANDS = typer.main.get_command(app)
EVERYTHING = "XAI_ALL_DOCUMENTS" in os.environ
FIRST = {"own-detector.md"}

NOT_RUN = {
    r"^xai models fetch": "downloads weights; tests/cli/test_models.py fetches from a made package",
    r"--engine ray": "starts or joins a cluster; tests/bench/test_ray.py",
    r"^xai serve": "serves until it is stopped; tests/serve/test_browser_images.py",
    r"^xai manifest ": "reads folders of a data set; tests/cli/test_manifest.py",
    r"^xai demo( --video)?$": "continuous integration runs it; tests/cli/test_start.py",
    r"(value_weighted_attention|shuffled:)": "needs the example package; tests/docs/test_example_package.py",
    r"^xai benchmark run benchmark.yaml$": "needs the example package; tests/docs/test_example_package.py",
}
"""Commands that no test of documents runs, and why."""

OTHERS = {
    "make": lambda words: all(f"\n{word}:" in (ROOT / "Makefile").read_text("utf-8") for word in words),
    "pip": lambda words: _extras(words) <= set(_project()["optional-dependencies"]),
    "git": lambda words: words[0] == "clone",
    "python3": lambda words: words[:2] == ["-m", "venv"],
    ".": lambda words: words == [".venv/bin/activate"],
    "cd": lambda words: words == ["xai"],
    "cp": lambda words: (ROOT / words[0]).is_file(),
    "ffmpeg": lambda words: True,
    "docker": lambda words: True,
    "source": lambda words: words == [".venv/bin/activate"],
}
"""Programs other than xai: what can be said of their arguments without running them."""


OTHER_PACKAGES = {"quoted": None, "grad-cam": "pytorch_grad_cam", "Captum": "captum", "Quantus": "quantus"}
"""What a block of code that is not ours needs, by a word of its title."""


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _extras(words: list[str]) -> set[str]:
    return {extra for word in words for part in re.findall(r"\[(.*?)\]", word) for extra in part.split(",")}


def reason(command: str) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), None)


def shown(text: str) -> list[str]:
    """Commands in a document's blocks of shell."""
    return [
        one for language, _, block in blocks(text) if language in ("sh", "bash") for one in commands(block)
    ]


def unknown(command: str) -> list[str]:
    """Words of a command that it does not know: a sub-command, or options."""
    words = command.split()[1:]
    at = COMMANDS
    while hasattr(at, "commands") and words and not words[0].startswith("-"):
        if words[0] not in at.commands and hasattr(at, "default"):
            words.insert(0, at.default)
        if words[0] not in at.commands:
            return [words[0]]
        at = at.commands[words.pop(0)]
    options = {name for parameter in at.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return [
        word
        for word in words
        if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options | {"--help"}
    ]


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_command_is_known(document: Path) -> None:
    wrong = {}
    for command in shown(document.read_text("utf-8")):
        program, *words = command.split()
        if program == "xai":
            if words := unknown(command):
                wrong[command] = words
        elif program not in OTHERS or not OTHERS[program](words):
            wrong[command] = [program]
    assert wrong == {}


def is_at_hand(title: str) -> bool:
    """Whether what a block needs is installed: xai, or the package of its title; quoted code is not."""
    if not title or title == 'title="xai"':
        return True
    package = next(package for name, package in OTHER_PACKAGES.items() if name in title)
    return package is not None and find_spec(package) is not None


def given() -> dict:
    """Names that blocks of Python take from what stands around them."""
    classifier = xai.load("demo")
    model, side = Pooled(2, 2).eval(), 32
    if find_spec("timm"):
        model, side = import_module("timm").create_model("vit_tiny_patch16_224", num_classes=2).eval(), 224
    return {
        "classifier": classifier,
        "torch": torch,
        "model": model,
        "pixels": torch.randn(1, 3, side, side),
        "explanation": xai.explain("photo.jpg", classifier, face="largest")[0],
        "image": photo(),
        "landmarks": POINTS / 4,
        "my_registry": {"NAME": classifier},
        "value": 0.5,
        "count": 2,
        "percent": lambda share: f"{share:.0%}",
    }


@pytest.mark.parametrize(
    "document", [one for one in documents() if EVERYTHING or one.name in FIRST], ids=name_of
)
def test_what_a_document_shows_runs(document: Path, request, small_demo, tmp_path, monkeypatch) -> None:
    needs_runs = "attention_results/" in document.read_text("utf-8")
    world = request.getfixturevalue("world_with_runs" if needs_runs else "world")
    folder = copytree(world, tmp_path / "world")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    names: dict | None = None
    for language, title, block in blocks(document.read_text("utf-8")):
        if language in ("sh", "bash"):
            for command in commands(block):
                if command.startswith("xai ") and reason(command) is None:
                    code, said = run(command)
                    assert code == 0, f"{command}\n{said}"
        elif language == "python" and is_at_hand(title):
            names = given() if names is None else names
            if named := re.match(r"# (\w+\.py)\n", block):
                Path(named[1]).write_text(block, "utf-8")
                continue
            exec(compile(block, f"{document.name}: {block.splitlines()[0]}", "exec"), names)  # noqa: S102


def test_every_reason_is_needed() -> None:
    commands_of_all = [one for document in documents() for one in shown(document.read_text("utf-8"))]
    assert [one for one in NOT_RUN if not any(re.search(one, command) for command in commands_of_all)] == []
    files = {name for why in NOT_RUN.values() for name in re.findall(r"tests/\S+", why)}
    assert [name for name in files if not (ROOT / name.rstrip(",")).exists()] == []


def test_commands_are_read_and_what_is_wrong_is_noticed() -> None:
    text = (
        "```sh\nxai explain a.png --report   # --this is said\nxai nope && xai explain b.png --layer=1\n```\n"
    )
    assert shown(text) == ["xai explain a.png --report", "xai nope", "xai explain b.png --layer=1"]
    assert [unknown(command) for command in shown(text)] == [[], ["nope"], ["--layer=1"]]
    assert len(shown((ROOT / "README.md").read_text("utf-8"))) > 10
