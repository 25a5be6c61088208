"""`make docs`: a new method stands in documents and benchmarks by the command, with no edit by hand."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks import documents
from benchmarks.documents import ROOT, generated, methods_of, with_methods
from xai.attr import METHODS, AttentionRollout, create
from xai.attr.registry import register
from xai.metrics import METRICS, PROTOCOLS
from xai.perturb import OPERATORS
from xai.report.payload import json_schema


@pytest.fixture
def new_method(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS.registered))

    @register
    class Rollback(AttentionRollout):
        """Attention rolled back.

        Args:
            forward_func: The model.
            depth: How far.
        """

        info = replace(AttentionRollout.info, name="rollback", summary="It is new.")

        def __init__(self, forward_func, depth: int = 3):
            super().__init__(forward_func)
            self.depth = depth

    yield "rollback"


def changed() -> dict[str, tuple[str, str]]:
    """File → its text, and the text it should have."""
    texts = {path: (path.read_text("utf-8"), text) for path, text in generated()}
    return {str(path.relative_to(ROOT)): both for path, both in texts.items() if both[0] != both[1]}


def test_a_new_method_changes_one_document_and_two_benchmarks(new_method: str) -> None:
    assert set(changed()) >= {"docs/methods.md", "configs/methods.yaml", "configs/clip_forgery/forged.yaml"}
    old, new = changed()["docs/methods.md"]
    assert "rollback" not in old and "| `depth` | `3` | How far. |" in new
    old, new = changed()["configs/methods.yaml"]
    assert [line for line in new.splitlines() if line not in old.splitlines()] == ["  - rollback"]
    assert new.replace("  - rollback\n", "") == old


def test_costly_methods_go_where_there_are_fewer_images(
    new_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = replace(METHODS[new_method].info, forwards=100)
    monkeypatch.setattr(METHODS[new_method], "info", info)
    assert "configs/clip_forgery/costly.yaml" in changed()
    assert "configs/clip_forgery/forged.yaml" not in changed()


def test_a_list_of_methods_grows_at_its_end(tmp_path: Path) -> None:
    text = "methods:\n  - a # first\n  # a comment\n  - name: b\n    method: c\n\nmetrics: [srg]\n"
    grown = with_methods(text, ["d"])
    assert grown == text.replace("method: c\n", "method: c\n  - d\n")
    (tmp_path / "grown.yaml").write_text(grown)
    assert methods_of(tmp_path / "grown.yaml") == ["a", "c", "d"]
    assert with_methods(text, []) == text


@pytest.mark.parametrize("check", [True, False])
def test_stale_files_are_named_or_written(check: bool, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "generated", lambda: iter([(tmp_path / "a.md", "new")]))
    monkeypatch.setattr(sys, "argv", ["documents.py", *(["--check"] if check else [])])
    (tmp_path / "a.md").write_text("old")
    assert documents.main() == int(check)
    assert "a.md" in (message := capsys.readouterr().err)
    assert ("make docs" in message) == check
    assert (tmp_path / "a.md").read_text() == ("old" if check else "new")
    (tmp_path / "a.md").write_text("new")
    assert documents.main() == 0 and not capsys.readouterr().err


def test_everything_registered_is_described() -> None:
    text = documents.metrics_document()
    for name in (*METRICS, *OPERATORS, *PROTOCOLS):
        assert f"`{name}`" in text


def test_the_schema_of_pages_is_published_whole() -> None:
    written = dict(generated())[ROOT / "docs" / "report.schema.json"]
    assert all(f'"{name}"' in written for name in json_schema()["$defs"])


def test_the_new_method_can_be_made(new_method: str) -> None:
    from vit_zoo import build

    assert create("rollback", build("clip"), depth=2).depth == 2
