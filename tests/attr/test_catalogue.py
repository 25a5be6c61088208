"""The list of methods, as `make docs` publishes it, is complete."""

from xai.attr import METHODS
from xai.attr.catalogue import to_markdown


def test_every_option_of_every_method_is_described() -> None:
    for line in to_markdown().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_every_method_is_there() -> None:
    text = to_markdown()
    assert [name for name in METHODS if f"\n### {name}\n" not in text] == []
