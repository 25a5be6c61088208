"""YAML: plain data with lines, or one error with its line; no file keeps the reader busy."""

import os
import time

import pytest
from pydantic import BaseModel, ConfigDict

from xai.core import ConfigError
from xai.core.yaml_files import MAX_BYTES, MAX_DEPTH, read_yaml
from xai.core.yaml_models import read_model

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 15)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200))


def read(tmp_path, text, **options):
    path = tmp_path / "f.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, "thing file", "Such files grow on trees.", **options)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: 2026-01-31\nb: 2026-13-77 99:00", {"a": "2026-01-31", "b": "2026-13-77 99:00"}),
        ("a: [no, yes, on, off, y, n]", {"a": ["no", "yes", "on", "off", "y", "n"]}),
        ("a: [true, False, TRUE]", {"a": [True, False, True]}),
        ("a: [~, null, '']\nb:", {"a": [None, None, ""], "b": None}),
        ("a: [0, -7, +8, 0x1F, 1e-3, 1E3, .5, 2.]", {"a": [0, -7, 8, 31, 0.001, 1000.0, 0.5, 2.0]}),
        ("a: ['010', \"1:30\", !!str 12, !!int '12', !!float 3]", {"a": ["010", "1:30", "12", 12, 3.0]}),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 3}}),
        ("x: &x {a: 1}\ny: &y {a: 2, c: 4}\nz: {<<: [*x, *y]}",
         {"x": {"a": 1}, "y": {"a": 2, "c": 4}, "z": {"a": 1, "c": 4}}),
        ("a: &a [1]\nb: [*a, *a]", {"a": [1], "b": [[1], [1]]}),
        ("\ufeffa: é", {"a": "é"}),
        ("a: <<", {"a": "<<"}),
    ],
)  # fmt: skip
def test_plain_words_mean_what_yaml_1_2_says(tmp_path, text, content):
    found = read(tmp_path, text).content
    assert found == content
    assert repr(found) == repr(content)  # 1, 1.0 and True are equal


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x: 1\na: 017", 2, "'017' is a number in some versions"),
        ("a: 089", 1, "some versions"),
        ("a: 12:30:45", 1, "some versions"),
        ("a: 1_000.5", 1, "some versions"),
        ("a: 0b101", 1, "some versions"),
        ("a: 0o17", 1, "some versions"),
        ("a:\n  - 1\n  - " + "7" * 6000, 3, "too large"),
        ("a: 0x" + "f" * 17, 1, "too large"),
        ("a: 1e400", 1, "no finite number"),
        ("a: .NaN", 1, "no finite number"),
        ("a: -.inf", 1, "no finite number"),
        ("a: !!int 1.5", 1, "'1.5' is no !!int"),
        ("a: !!bool on", 1, "'on' is no !!bool"),
        ("a: !!null x", 1, "no !!null"),
        ("a: !!binary aGk=", 1, "tag !!binary"),
        ("a: !!set {x: }", 1, "tag !!set"),
        ("a: !!timestamp 2026-01-01", 1, "tag !!timestamp"),
        ("a: !mine {x: 1}", 1, "tag !mine"),
        ("b: 1\na: !!python/object/new:os.system [true]", 2, "tag !!python"),
        ("a: {b: 1,\n b: 2}", 2, "'b' is said twice"),
        ("a:\n  1: x", 2, "key '1' is no text"),
        ("? [a]\n: x", 1, "is no key"),
        ("true: x", 1, "key 'true' is no text"),
        ("x: {<<: [1]}", 1, "<< takes in mappings"),
        ("a: &a [*a]", 1, "inside of what it names"),
        ("a: &a\n  b: {c: *a}", 2, "inside of what it names"),
        ("a: *b", 1, "undefined alias"),
        (BOMB, None, "more than 100000 values"),
        (CHAIN, None, f"more than {MAX_DEPTH} lists"),
        ("a: " + "{a: " * 3000, 1, f"more than {MAX_DEPTH} lists"),
        ("- " * 3000 + "x", 1, f"more than {MAX_DEPTH} lists"),
        ("a: 1\n---\nb: 2", 2, "single document"),
        ("a:\n\tb: 1", 2, "cannot start any token"),
        ("a: 1\nb: x\x00", 2, "is not allowed"),
        ("b: 1\na: x\x1b[31m", 2, "is not allowed"),
        ('a: "\\ud83d"', 1, "no text may hold"),
        ('a: "x\\0"', 1, "no text may hold"),
        ("a: [1\nb: 2", 2, "cannot be read as YAML"),
        (b"a: 1\nb: \xe9", 2, "not UTF-8"),
    ],
)
def test_what_is_broken_is_named_with_its_line(tmp_path, text, line, words):
    begun = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert time.perf_counter() - begun < 5
    said = str(caught.value)
    assert words in said
    assert len(said) < 600
    if line is not None:
        assert f"f.yaml:{line}: " in said


@pytest.mark.parametrize("text", ["", "# nothing\n", "just words", "[a, b]", "null", "3"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"must hold `key: value` lines[\s\S]*grow on trees"):
        read(tmp_path, text)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "big").write_bytes(b"#" * (MAX_BYTES + 1))
    for name, words in {
        ".": "is a folder",
        "pipe": "no regular file",
        "/dev/zero": "no regular file",
        "loop": "cannot be read",
        "big": "more than 1 MB",
        "absent": "There is no thing file",
        "x" * 300: "cannot be read",
        "nul\0": "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=words):
            read_yaml(tmp_path / name, "thing file", "Hint.")
    (tmp_path / "wide").write_text("a: 1", "utf-16")
    with pytest.raises(ConfigError, match="UTF-16"):
        read_yaml(tmp_path / "wide", "thing file", "Hint.")


@pytest.mark.parametrize("text", ["{a: 1}: 2", "? [a, b]\n: 3"])
def test_a_key_that_is_no_word_is_refused_beside_keys_that_are_not_read(tmp_path, text):
    with pytest.raises(ConfigError, match="f.yaml:2: "):
        read(tmp_path, f"lr: 1\n{text}", unread=("lr",))


def test_keys_that_are_not_read_may_hold_anything(tmp_path):
    file = read(tmp_path, "a: 1\nlr: 1_000\nopt: {x: 010, x: 2, 3: !foo y}\nb: 2", unread=("lr", "opt", "z"))
    assert file.content == {"a": 1, "b": 2}
    assert file.unread == ("lr", "opt")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = 0
    flag: bool = False
    shares: tuple[float, ...] = ()


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    labels: tuple[str, ...] = ()
    inner: Inner = Inner()


def check(tmp_path, text):
    (tmp_path / "f.yaml").write_text(text)
    return read_model(tmp_path / "f.yaml", Outer, "thing file", "Hint.")[0]


def test_words_that_look_like_others_are_read_as_what_is_wanted(tmp_path):
    found = check(tmp_path, "name: 2026-01-01\nlabels: [no, yes]\ninner: {flag: no, count: 3.0}")
    assert (found.name, found.labels) == ("2026-01-01", ("no", "yes"))
    assert (found.inner.flag, found.inner.count) == (False, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inner:\n  count: true", "f.yaml:2: inner.count: a number is needed; got true."),
        ("inner:\n  shares: [0.5, false]", "f.yaml:2: inner.shares[1]: a number is needed; got false."),
        ("labels:\n- a\n- 1", "f.yaml:3: labels[1]: Input should be a valid string; got 1. Quote it if"),
        ("labels: [true]", "got True. Quote it if it is text."),
        ("inner:\n  cuont: 1", "f.yaml:2: unknown key 'cuont' in inner. Did you mean 'count'?"),
        ("nmae: x", "f.yaml:1: unknown key 'nmae'. Did you mean 'name'?"),
        ("x: &x {count: q}\n", "f.yaml:1: unknown key 'x'"),
    ],
)
def test_wrong_values_are_named_with_line_and_key(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        check(tmp_path, text)
    assert said in str(caught.value)
