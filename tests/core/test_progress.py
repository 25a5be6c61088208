"""Who sees a bar: a terminal and a notebook, and whoever asks for it; a pipe never does by itself."""

import io
import sys
from types import SimpleNamespace

import pytest
from tiny_detector import classifier, photo

import xai
from xai.core import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """To be called in a test itself: between fixtures and test pytest puts its own stream back."""
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr(progress, "DELAY", 0)
    return stream


def notebook(monkeypatch: pytest.MonkeyPatch, config: dict[str, object]) -> None:
    shell = SimpleNamespace(config=config)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_nothing_is_shown_in_a_pipe_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.counted("ab", 2, "Counting")) == ["a", "b"]
    assert capsys.readouterr().err == ""
    with progress.progress(2, "Counting", show=True) as step:
        step()
    assert "Counting" in capsys.readouterr().err


def test_a_terminal_shows_it_and_is_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with progress.progress(4, "Counting") as step:
        step(3)
    text = terminal.getvalue()
    assert "Counting:   0%" in text and "0/4" in text
    assert text.endswith("\r") and text.rsplit("\r", 2)[1].strip() == "", "the line is wiped"
    before = len(text)
    with progress.progress(4, "Counting", show=False) as step:
        step()
    assert len(terminal.getvalue()) == before


def test_a_short_call_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    monkeypatch.setattr(progress, "DELAY", 60)
    assert list(progress.counted("ab", 2, "Counting")) == ["a", "b"]
    assert "Counting" not in terminal.getvalue()


def test_a_notebook_is_watched_and_a_shell_of_ipython_in_a_pipe_is_not(monkeypatch) -> None:
    assert not progress.is_watched()
    notebook(monkeypatch, {})
    assert not progress.is_watched()
    notebook(monkeypatch, {"IPKernelApp": {}})
    assert progress.is_watched()


def test_explaining_and_comparing_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    model, images = classifier(), [photo(0), photo(1)]
    xai.explain(images, model, method="attention_rollout")
    assert "Explaining:   0%" in terminal.getvalue() and "/2 [" in terminal.getvalue()
    xai.compare(images, model, ["attention_rollout", "saliency"], lang="zh")
    assert "/4 [" in terminal.getvalue()
    size = len(terminal.getvalue())
    xai.explain(images, model, method="attention_rollout", progress=False)
    assert len(terminal.getvalue()) == size
