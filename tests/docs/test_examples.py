"""Every example in a docstring runs and shows what it says."""

import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import xai

PACKAGE = Path(xai.__file__).parent
MUST_SHOW = (
    "xai.models.load",
    "xai.explanation.explain",
    "xai.attr.GradientWeightedAttention",
    "xai.metrics.gini",
    "xai.metrics.evaluate",
    "xai.metrics.protocol",
)


def examples() -> Iterator[doctest.DocTest]:
    """The docstrings of the package that hold an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>>" in path.read_text("utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            yield from (test for test in finder.find(import_module(name), name) if test.examples)


EXAMPLES = list(examples())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_it_shows_what_it_says(example: doctest.DocTest, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example, out=lines.append, clear_globs=False).failed == 0, "".join(lines)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", MUST_SHOW)
def test_what_everybody_begins_with_has_an_example(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert ">>>" in (getattr(import_module(module), name).__doc__ or "")
