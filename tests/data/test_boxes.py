"""Boxes are read, matched to their image and checked against it."""

import os
from pathlib import Path

import pytest

from xai.core import ConfigError, DataError, UsageError
from xai.data import check_box, parse_box, read_boxes


def test_parse_box_rounds_to_whole_pixels():
    assert parse_box("1, 2.4,30.6,40") == (1, 2, 31, 40)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,1,1", "inf,0,1,1"])
def test_parse_box_shows_the_form(text):
    with pytest.raises(UsageError, match="--box 40,60,224,224"):
        parse_box(text)


@pytest.mark.parametrize("text", ["-1,0,5,5", "0,0,0,5", "0,0,5,0.2"])
def test_parse_box_refuses_empty_and_negative(text):
    with pytest.raises(UsageError, match="≥"):
        parse_box(text)


def write(folder, text):
    path = folder / "boxes.csv"
    path.write_text(text)
    return path


def test_read_boxes_finds_images_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    path = write(tmp_path / "lists", "x,image,y,w,h\n1,here.png,2,3,4\n5,sub/cwd.png,6,7,8\n")
    box_of = read_boxes(path)
    assert box_of(Path("lists/here.png")) == (1, 2, 3, 4)
    assert box_of(Path("/elsewhere/here.png")) == (1, 2, 3, 4)
    assert box_of(tmp_path / "sub" / "cwd.png") == (5, 6, 7, 8)
    with pytest.raises(DataError, match=r"no box in .*boxes\.csv"):
        box_of(Path("/elsewhere/cwd.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y,w\na,1,2,3\n", "no column h"),
        ("", "no column image"),
        ("image,x,y,w,h\na,1,2,3\n", r"boxes\.csv:2: Box"),
        ("image,x,y,w,h\na,1,2,3,4\na,1,2,3,4\n", r"boxes\.csv:3: a is listed twice"),
    ],
)
def test_malformed_csv_names_the_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_boxes(write(tmp_path, text))


def test_missing_csv(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read boxes"):
        read_boxes(tmp_path / "boxes.csv")


def test_check_box():
    check_box((0, 0, 10, 20), (10, 20), "x.png")
    with pytest.raises(DataError, match=r"x\.png: the box 1,0,10,20 .* \(10 × 20 pixels\)"):
        check_box((1, 0, 10, 20), (10, 20), "x.png")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image;x;y;w;h\nsub\\a.png;1;2;3;4\n", "utf-8"),
        ("image\tx\ty\tw\th\nsub/a.png\t1\t2\t3\t4\n", "utf-16"),
    ],
)
def test_other_systems_tables_are_read(tmp_path, text, encoding):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.png").touch()
    (tmp_path / "boxes.csv").write_bytes(text.encode(encoding))
    assert read_boxes(tmp_path / "boxes.csv")(tmp_path / "sub/a.png") == (1, 2, 3, 4)


def test_rows_of_files_that_cannot_be_harm_no_other(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    odd = ["loop.png", "a\0.png", "~no-such-user-x/a.png", "x" * 300]
    rows = "".join(f"{name},1,1,1,1\n" for name in odd)
    box_of = read_boxes(write(tmp_path, f"image,x,y,w,h\n{rows}b.png,1,2,3,4\n"))
    assert box_of(tmp_path / "b.png") == (1, 2, 3, 4)
    with pytest.raises(DataError, match="no box"):
        box_of(tmp_path / "c\0.png")


@pytest.mark.parametrize(
    "box", [(float("nan"), 0, 1, 1), (0, 0, float("inf"), 1), (0, 0, 10**400, 1), (0, 0, 1e300, 1)]
)
def test_check_box_refuses_what_is_no_box(box):
    with pytest.raises(DataError, match="does not lie inside"):
        check_box(box, (10, 20), "x.png")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "boxes.csv")
    with pytest.raises(ConfigError, match="is a named pipe"):
        read_boxes(tmp_path / "boxes.csv")
