"""Manifests as other systems write them, and rows that cannot be used: they cost themselves only."""

import os

import numpy as np
import pytest
from PIL import Image

from xai.core import ConfigError, DataError
from xai.data import load_samples, read_manifest
from xai.data.forged_set import gather_photos


@pytest.fixture
def faces(tmp_path):
    (tmp_path / "faces").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (6, 4), "red").save(tmp_path / f"faces/{name}.png")
    Image.new("L", (6, 4), 255).save(tmp_path / "faces/m.png")
    return tmp_path


def rows_of(folder, text, encoding="utf-8", name="m.csv"):
    (folder / name).write_bytes(text.encode(encoding))
    return read_manifest(folder / name)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path,label,mask\nfaces\\a.png,real,faces\\m.png\n", "utf-8"),
        ("path;label;mask\nfaces/a.png;real;faces/m.png\n", "utf-8"),
        ("label\tpath\tmask\r\nreal\tfaces\\a.png\tfaces/m.png\r\n", "utf-16"),
        ('"path";"label";"mask"\r"faces/a.png";"real";"faces/m.png"\r', "utf-8-sig"),
        ("path, label, mask\nfaces/a.png, real, faces/m.png\n", "utf-8"),
    ],
)
def test_other_systems_tables_are_read(faces, text, encoding):
    (row,) = rows_of(faces, text, encoding)
    assert (row.path, row.label, row.mask) == (faces / "faces/a.png", "real", faces / "faces/m.png")
    assert row.fault is None and load_samples([row])[0].mask.all()


def test_a_file_name_with_a_backslash_comes_before_a_folder(faces):
    Image.new("RGB", (2, 2)).save(faces / "faces\\a.png")
    (row,) = rows_of(faces, "path\nfaces\\a.png\n")
    assert row.path == faces / "faces\\a.png"


def pipe(folder):
    os.mkfifo(folder / "pipe.png")
    return "pipe.png"


def loop(folder):
    (folder / "loop.png").symlink_to("loop.png")
    return "loop.png"


BAD = {
    "missing": (lambda folder: "none.png", "no such image .*none.png"),
    "NUL": (lambda folder: "faces/a\0.png", r"a\\x00.png: a path cannot hold a NUL byte"),
    "loop": (loop, "too many levels of symbolic links"),
    "no such user": (lambda folder: "~no-such-user-x/a.png", "no such image .*~no-such-user-x/a.png"),
    "too long": (lambda folder: "x" * 400 + ".png", "file name too long"),
    "longer than a cell": (lambda folder: "x" * 200_000, "larger than field limit"),
    "folder": (lambda folder: "faces", "is a folder, not a file"),
    "pipe": (pipe, "is a named pipe, not a file"),
    "device": (lambda folder: "/dev/zero", "is a device, not a file"),
    "Windows": (lambda folder: "C:\\x\\a.png", "nor with slashes for its backslashes"),
    "control": (lambda folder: "\x1b[31m.png", r"no such image .*\\x1b\[31m.png"),
    "quotation": (
        lambda folder: '"none.png\nfaces/c.png"',
        "goes over the lines . to .: is a quotation mark",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_row_that_cannot_be_used_costs_itself_only(faces, kind):
    make, words = BAD[kind]
    bad = make(faces)
    rows = rows_of(faces, f"path,label\nfaces/a.png,real\n{bad},fake\nfaces/b.png,real\n")
    assert [row.fault is None for row in rows] == [True, False, True]
    samples = load_samples(rows)
    assert len(set(samples.ids)) == 3 and all(one.isprintable() for one in samples.ids)
    assert samples[0].image.size == samples[2].image.size == (6, 4)
    with pytest.raises(DataError, match=rf"m\.csv:[34]: .*{words}"):
        samples[1]
    with pytest.raises(DataError, match=words):
        rows_of(faces, f"path\n{bad}\n", name="alone.csv")


def test_a_mask_that_is_missing_costs_its_image_only(faces):
    rows = rows_of(faces, "path,mask\nfaces/a.png,no.png\nfaces/b.png,faces/m.png\n")
    assert "no such mask" in rows[0].fault and rows[1].fault is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,label\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        ("path\nfacé.png\n".encode("latin-1"), "utf-8"),
        (b"path;path\na;b\n", "there twice"),
        (b"path;lable\na;b\n", "mean 'label'"),
        (b"label;mask\na;b\n", "unknown column 'label;mask'"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_error(tmp_path, content, words):
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_manifest(tmp_path / "m.csv")


def test_a_manifest_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.csv")
    os.mkfifo(tmp_path / "m.parquet")
    for name in ("m.csv", "m.parquet"):
        with pytest.raises(ConfigError, match="is a named pipe"):
            read_manifest(tmp_path / name)


def test_parquet_cells_that_are_no_paths_or_texts(faces):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    broken = pa.array([b"faces/a.png", b"faces/\xff.png"], pa.binary()).cast(pa.string(), safe=False)
    parquet.write_table(pa.table({"path": broken, "label": pa.array([1.0, np.nan])}), faces / "m.parquet")
    first, second = read_manifest(faces / "m.parquet")
    assert (first.label, first.fault, second.label) == ("1", None, None)
    assert "no such image" in second.fault and "\\udcff" in second.fault
    numbers = pa.table({"path": ["faces/a.png", "faces/b.png"], "mask": [None, True]})
    parquet.write_table(numbers, faces / "m.parquet")
    assert [row.fault for row in read_manifest(faces / "m.parquet")] == [
        None, "bool in the column mask, which holds paths of files"
    ]  # fmt: skip
    parquet.write_table(pa.table({"path": [7, 8]}), faces / "m.parquet")
    with pytest.raises(DataError, match="int in the column path"):
        read_manifest(faces / "m.parquet")
    lists = pa.table({"path": ["faces/a.png", "faces/b.png"], "label": [["x"], None]})
    parquet.write_table(lists, faces / "m.parquet")
    assert [row.fault is None for row in read_manifest(faces / "m.parquet")] == [False, True]


def test_photographs_to_forge_that_are_no_files_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    photos, errors = gather_photos([str(tmp_path)], 32)
    assert list(photos) == ["good"]
    assert sorted(str(error).rpartition(": ")[2] for error in errors) == [
        "is a named pipe, not a file.",
        "too many levels of symbolic links.",
    ]
