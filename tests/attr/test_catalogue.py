"""The published list of methods is that of the registry."""

from pathlib import Path

from xai.attr import METHODS
from xai.attr.catalogue import to_markdown

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


def test_the_document_is_current() -> None:
    """Written anew by: xai methods --markdown > docs/methods.md."""
    assert DOCUMENT.read_text("utf-8") == to_markdown()


def test_every_option_of_every_method_is_described() -> None:
    for line in to_markdown().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_every_method_is_there() -> None:
    text = to_markdown()
    assert [name for name in METHODS if f"\n### {name}\n" not in text] == []
