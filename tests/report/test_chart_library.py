"""The charts' library in the cache: whole or made again, and a page never waits for a cache that fails."""

import sys
from importlib import import_module

import pytest

from xai.core import UsageError
from xai.report import page as kept
from xai.report.encode import digest, pack, unpack


@pytest.fixture
def bundled(monkeypatch, tmp_path):
    """How often the library was bundled; a short script takes its place."""
    times = []

    def bundle():
        times.append(1)
        return "const a = 1;\r\n// </script>"

    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(import_module("vl_convert"), "javascript_bundle", bundle)
    kept.chart_library.cache_clear()
    yield times
    kept.chart_library.cache_clear()


def in_another_process():
    kept.chart_library.cache_clear()
    return kept.chart_library()


def file_in(folder):
    (file,) = (folder / "cache" / "charts").iterdir()
    return file


def test_it_is_bundled_once(bundled, tmp_path):
    first, second = in_another_process(), in_another_process()
    assert first == second and len(bundled) == 1
    assert unpack(first.packed) == "const a = 1;\n// <\\/script>"
    assert first.digest == digest(unpack(first.packed))


BREAKAGES = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[:-7],
    "no lines": lambda content: content.replace(b"\n", b""),
    "another script": lambda content: pack("alert(1)").encode() + b"\n" + content.split(b"\n")[1],
    "no gzip": lambda content: b"QUJD\n" + content.split(b"\n")[1],
    "no base64": lambda content: b"?!\n" + content.split(b"\n")[1],
    "no text": lambda content: b"\xff" * 40,
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_one_is_made_again(bundled, tmp_path, breakage):
    first = in_another_process()
    whole = file_in(tmp_path).read_bytes()
    file_in(tmp_path).write_bytes(BREAKAGES[breakage](whole))
    assert in_another_process() == first and len(bundled) == 2
    assert file_in(tmp_path).read_bytes() == whole


def test_another_version_has_another_file(bundled, monkeypatch):
    in_another_process()
    monkeypatch.setattr(kept, "version_of", lambda name: "99.0")
    in_another_process()
    assert len(bundled) == 2


def test_no_cache_is_needed(bundled, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert unpack(in_another_process().packed).startswith("const a")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(kept, "cache_folder", no_home)
    assert unpack(in_another_process().packed).startswith("const a")


def test_the_package_is_needed_even_so(bundled, monkeypatch):
    in_another_process()
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match="vl-convert-python, which is not installed"):
        in_another_process()
