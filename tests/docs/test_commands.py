"""The commands that documents show exist, with the options shown."""

import re
from pathlib import Path

import pytest
import typer

from xai.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app)


def shown(text: str) -> list[str]:
    """Commands in blocks of shell, one a line, without their comments."""
    lines = [line for block in FENCE.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"&&|;|\|", line.partition(" #")[0])]
    return [part for part in parts if part.startswith("xai ")]


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
        if re.match(r"--[a-z]", word) and word.split("=")[0] not in options | {"--help"}
    ]


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_known(document: Path) -> None:
    commands = shown(document.read_text("utf-8"))
    assert {command: words for command in commands if (words := unknown(command))} == {}


def test_commands_are_read_and_what_is_wrong_is_noticed() -> None:
    text = (
        "```sh\nxai explain a.png --report   # --this is said\nxai nope && xai explain b.png --layer=1\n```\n"
    )
    assert shown(text) == ["xai explain a.png --report", "xai nope", "xai explain b.png --layer=1"]
    assert [unknown(command) for command in shown(text)] == [[], ["nope"], ["--layer=1"]]
    assert len(shown((ROOT / "README.md").read_text("utf-8"))) > 10
