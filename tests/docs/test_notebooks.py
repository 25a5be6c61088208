"""Notebooks run (by `make docs-check`; for the site by Jupyter) and are committed without what they show."""

import ast
import json
import os
from pathlib import Path

import pytest
from document_world import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]


def shown(source: str, names: dict) -> object:
    """Run a cell; the value of its last line, if that is an expression."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), source.splitlines()[0], "exec"), names)  # noqa: S102
    return eval(compile(ast.Expression(last.value), source, "eval"), names) if last else None  # noqa: S307


@pytest.mark.skipif("XAI_ALL_DOCUMENTS" not in os.environ, reason="make docs-check runs them")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, small_demo, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in cells(path):
        value = shown("".join(cell["source"]), names)
        assert value is None or repr(value)
        if hasattr(value, "_repr_html_"):
            assert value._repr_html_()


def test_there_are_notebooks_and_nothing_of_a_run_is_in_them() -> None:
    assert len(NOTEBOOKS) >= 2
    assert [
        cell for path in NOTEBOOKS for cell in cells(path) if cell["outputs"] or cell["execution_count"]
    ] == []
