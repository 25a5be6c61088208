"""Entries of installed packages and of the user's own modules."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xai.core import Registry, UsageError, is_import_path

Install = Callable[..., Path]


class Shape:
    """What the registry of these tests holds."""


@pytest.fixture
def shapes() -> Registry[type[Shape]]:
    def enter(found: Any) -> str:
        if not (isinstance(found, type) and issubclass(found, Shape)):
            raise UsageError("is no subclass of Shape.", "Derive it.")
        if registry.registered.get(found.name) is not found:
            registry.add(found.name)(found)
        return found.name

    registry: Registry[type[Shape]] = Registry("shape", "xai.test_shapes", enter)
    registry.add("round")(Shape)
    return registry


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module, with entry points, where `sys.path` finds it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "shape_base", sys.modules[__name__])

    def run(package: str, code: str, **offers: str) -> Path:
        (tmp_path / f"{package}.py").write_text(f"from shape_base import Shape\n{code}")
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in offers.items()]
        (info / "entry_points.txt").write_text("\n".join(["[xai.test_shapes]", *lines]))
        return tmp_path

    yield run
    for name in set(sys.modules) - before:
        del sys.modules[name]


SQUARE = "class Square(Shape):\n    name = 'square'\n"


def test_a_package_is_imported_when_its_name_is_asked_for(
    shapes: Registry[type[Shape]], install: Install
) -> None:
    install("shapes_square", SQUARE, square="shapes_square:Square")
    assert shapes["round"] is Shape
    assert "shapes_square" not in sys.modules
    assert shapes["square"].__name__ == "Square"
    assert "square" in shapes and list(shapes) == ["round", "square"] and len(shapes) == 2


def test_a_list_names_what_packages_offer(shapes: Registry[type[Shape]], install: Install) -> None:
    install("shapes_square", SQUARE, square="shapes_square:Square")
    assert sorted(dict(shapes)) == ["round", "square"]


def test_an_unknown_name_is_compared_with_offers_too(shapes: Registry[type[Shape]], install: Install) -> None:
    install("shapes_square", SQUARE, square="shapes_square:Square")
    with pytest.raises(UsageError, match=r"Unknown shape 'sqare'.\n.*Did you mean 'square'"):
        shapes["sqare"]
    assert shapes.names() == {"round", "square"}
    assert "shapes_square" not in sys.modules


@pytest.mark.parametrize(
    ("code", "value", "message"),
    [
        ("import no_such_module_anywhere\n", "broken:Square", "cannot be imported: No module named"),
        ("raise SystemExit(3)\n", "broken:Square", "cannot be imported: SystemExit: 3"),
        (SQUARE, "broken:Cube", "broken has no Cube"),
        ("class Square: pass\n", "broken:Square", "broken:Square is no subclass of Shape"),
        ("class Square(Shape):\n    name = 'cube'\n", "broken:Square", "is called 'cube'"),
        ("class Square(Shape):\n    name = 'round'\n", "broken:Square", "'round' is registered already"),
    ],
)
def test_a_broken_package_is_named_and_breaks_no_other(
    code: str,
    value: str,
    message: str,
    shapes: Registry[type[Shape]],
    install: Install,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install("broken", code, square=value)
    install("shapes_oval", "class Oval(Shape):\n    name = 'oval'\n", oval="shapes_oval:Oval")
    with caplog.at_level(logging.WARNING):
        assert "oval" in list(shapes) and "square" not in list(shapes)
    assert len(caplog.records) == 1
    assert "'square' of the installed package broken cannot be used" in caplog.text
    assert "square" not in shapes
    for _ in range(2):
        with pytest.raises(UsageError, match=message) as caught:
            shapes["square"]
        assert "installed package broken" in str(caught.value) and caught.value.hint
    assert len(caplog.records) == 1


def test_a_name_of_our_own_is_not_taken_over(
    shapes: Registry[type[Shape]], install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("greedy", "class Ball(Shape):\n    name = 'round'\n", round="greedy:Ball")
    assert dict(shapes) == {"round": Shape}
    assert "package greedy cannot be used" in caplog.text and "registered already" in caplog.text
    assert shapes["round"] is Shape


def test_two_packages_of_one_name_are_both_refused(shapes: Registry[type[Shape]], install: Install) -> None:
    install("one", SQUARE, square="one:Square")
    install("other", SQUARE, square="other:Square")
    with pytest.raises(UsageError, match="installed package one and other cannot be used"):
        shapes["square"]
    assert "square" not in shapes


def test_trusted_code_is_entered_under_both_its_names(
    shapes: Registry[type[Shape]], tmp_path: Path, install: Install
) -> None:
    del install  # which makes `shape_base` importable
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text(f"from shape_base import Shape\n{SQUARE}")
    before = list(sys.path)
    for _ in range(2):
        assert shapes.resolve("mine:Square", trusted=True, folder=tmp_path / "own") == "square"
    assert shapes["mine:Square"] is shapes["square"]
    assert "mine:Square" in shapes and list(shapes) == ["round", "square"]
    assert sys.path == before
    assert shapes.resolve("round", trusted=False) == "round"


def test_code_is_imported_for_no_other_reason_than_trust(
    shapes: Registry[type[Shape]], install: Install
) -> None:
    install("mine", SQUARE)
    with pytest.raises(UsageError, match="nothing was imported") as caught:
        shapes.resolve("mine:Square", trusted=False)
    assert "--trust-code" in str(caught.value)
    with pytest.raises(UsageError, match="names code that was not imported"):
        shapes["mine:Square"]
    assert "mine:Square" not in shapes
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:Square", "No module named"),
        ("mine:Cube", "mine has no Cube"),
        ("mine:Other", "mine:Other is no subclass of Shape"),
        ("mine:Ball", "'round' is registered already"),
    ],
)
def test_what_is_wrong_with_trusted_code_is_said(
    path: str, message: str, shapes: Registry[type[Shape]], install: Install
) -> None:
    install("mine", f"{SQUARE}class Other: pass\nclass Ball(Shape):\n    name = 'round'\n")
    with pytest.raises(UsageError, match=message) as caught:
        shapes.resolve(path, trusted=True)
    assert str(caught.value).startswith(f"Shape '{path}' cannot be used: ")
    assert caught.value.hint


def test_a_module_is_not_passed_over_for_its_namesake(
    shapes: Registry[type[Shape]], tmp_path: Path, install: Install
) -> None:
    install("mine", SQUARE)
    shapes.resolve("mine:Square", trusted=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text("class Oval: pass\n")
    with pytest.raises(UsageError, match="Another module named mine is in use already"):
        shapes.resolve("mine:Oval", trusted=True, folder=tmp_path / "own")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mine:Square", True),
        ("package.module:Outer.Inner", True),
        ("square", False),
        ("C:\\shapes", False),
        ("mine:", False),
        (":Square", False),
        ("two words:Square", False),
    ],
)
def test_import_paths_are_told_from_names(name: str, expected: bool) -> None:
    assert is_import_path(name) is expected
