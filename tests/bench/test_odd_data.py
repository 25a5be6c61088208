"""Masks that say nothing are warned of; rows and members that cannot be used cost themselves only."""

import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from bench_runs import records
from PIL import Image
from sample_shards import add
from tiny_detector import photo

from xai.bench import estimate, page_of_run, run_benchmark, summarise
from xai.bench.data.shard_source import open_shards
from xai.bench.results.markdown import to_markdown
from xai.bench.run.masks import mask_warnings
from xai.core import ConfigError, DataError
from xai.report.findings import findings_of
from xai.stats import mask_warning


def png(side: int = 32, colour: str = "red", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "png", **options)
    return file.getvalue()


def manifest(folder, masks):
    """Pictures labelled fake, and one real; a mask is a level, None for none."""
    lines = ["path,label,mask"]
    for number, level in enumerate(masks):
        photo(number).save(folder / f"{number}.png")
        if level is not None:
            mask = np.full((32, 40), min(level, 255), np.uint8)
            mask[:16] = mask[:16] if level != 256 else 0
            Image.fromarray(mask).save(folder / f"{number}_mask.png")
        name = "" if level is None else f"{number}_mask.png"
        lines.append(f"{number}.png,{'fake' if number else 'real'},{name}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return {"manifest": str(folder / "faces.csv")}


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ([0, 0, 0], "All masks are empty where the model looks (3 of 3)"),
        ([255, 255, None], "All masks are full (2 of 2)"),
        ([256, 0, 0], "All masks of images labelled 'fake' are empty where the model looks (2 of 2)"),
        ([0, 255, 255], "All masks of images labelled 'fake' are full (2 of 2)"),
        ([0, 256, 0], None),
        ([None, None, None], None),
    ],
)
def test_masks_that_say_nothing_are_a_warning(config, tiny, tmp_path, masks, words):
    settings = config(data=manifest(tmp_path, masks), metrics=["rank_accuracy", "srg"], shard_size=2)
    run_benchmark(settings, tmp_path / "run", classifier=tiny)
    summary = summarise(tmp_path / "run")
    if words is None:
        assert summary.mask_warnings == () and "Warning" not in to_markdown(summary)
        return
    (warning,) = map(mask_warning, summary.mask_warnings)
    assert warning.startswith(words)
    assert f"**Warning:** {words}" in to_markdown(summary)
    assert summary.as_dict()["warnings"] == [warning]
    assert warning in findings_of(page_of_run(tmp_path / "run")).warnings


def test_empty_masks_of_genuine_images_are_right():
    assert mask_warnings({"Real": [4, 4, 0], "fake": [4, 1, 1]}) == []
    assert len(mask_warnings({"real": [4, 0, 4], "fake": [4, 1, 1]})) == 1
    assert mask_warnings({}) == []


def test_a_row_that_cannot_be_used_is_an_exclusion(config, tiny, tmp_path):
    data = manifest(tmp_path, [0, 256, 256])
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "faces.csv").open("a") as file:
        file.write("loop.png,fake,\npipe.png,fake,\na\0.png,real,\n")
    settings = config(data=data, metrics=["srg"])
    unusable = estimate(settings, classifier=tiny).unusable
    assert [name[:4] for name, _ in unusable] == ["loop", "pipe", "a\\x0"]
    result = run_benchmark(settings, tmp_path / "run", classifier=tiny)
    said = {one.image: one.reason for one in result.exclusions}
    assert len(said) == 3 and set(records(tmp_path / "run")["image"]) == {"0", "1", "2"}
    assert "faces.csv:5" in said["loop"] and "symbolic links" in said["loop"]
    assert "named pipe" in said["pipe"]
    again = run_benchmark(settings, tmp_path / "run", classifier=tiny)
    assert again.resumed == again.work_items and len(again.exclusions) == 3


def deep(tar):
    add(tar, "bad.png", png())
    add(tar, "bad.json", b'{"label": ' + b"[" * 100_000)


def label(content):
    def write(tar):
        add(tar, "bad.png", png())
        add(tar, "bad.json", json.dumps(content).encode())

    return write


def unclear_mask(tar):
    add(tar, "bad.png", png())
    mask = io.BytesIO()
    Image.fromarray(np.repeat(np.array([0, 64, 128, 9], np.uint8), 8)[None].repeat(32, 0)).save(mask, "png")
    add(tar, "bad.mask.png", mask.getvalue())


def sparse(tar):
    member = tarfile.TarInfo("bad.png")
    member.size = len(png())
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "100"}
    tar.addfile(member, io.BytesIO(png()))
    add(tar, "bad.json", b"{}")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (deep, "nested too deeply"),
        (label({"label": {"a": 1}}), "dict in the column label"),
        (label({"group": "x" * 2000}), "2000 characters in the column group"),
        (label(["fake"]), "holds no object"),
        (unclear_mask, "the mask: the values 0, 9, 64, 128 do not say"),
        (sparse, "no image among json"),
    ],
)
def test_a_member_that_cannot_be_used_costs_its_sample_only(tmp_path, write, words):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "../../good.png", png())
        add(tar, "../../good.json", b'{"label": 1.0}')
        write(tar)
    good, bad = open_shards([str(tmp_path / "a.tar")]).entries(0, 2)
    assert good.make().label == "1" and good.make().image.size == (32, 32)
    with pytest.raises(DataError, match=words):
        bad.make()


def tar_bytes(*names):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in names:
            add(tar, name, png())
    return file.getvalue()


def broken_header():
    """The second member's checksum is wrong: what comes after it must not be lost without a word."""
    content = bytearray(tar_bytes("a.png", "b.png", "c.png"))
    place = content.index(b"b.png")
    content[place + 148 : place + 156] = b"0000000\0"
    return bytes(content)


def backwards():
    """A header whose size is negative, by which tarfile reads the same header for ever."""
    content = bytearray(tar_bytes("a.png"))
    content[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (broken_header(), "a.tar: broken at byte \\d+, or cut off there"),
        (backwards(), "leads backwards|cannot be read"),
        (tar_bytes("a.png", "b.png")[:-10_500], "cannot be read|cut off|broken"),
        (b"\x1f\x8b" + bytes(600), "cannot be read"),
    ],
)
def test_a_tar_that_is_broken_as_a_whole_is_one_error(tmp_path, content, words):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_shards([str(tmp_path / "a.tar")])


def test_parquet_cells_of_any_type(tmp_path):
    broken = pa.array([b"\xffx", b"y", b"z"], pa.binary()).cast(pa.string(), safe=False)
    table = pa.table({
        "path": pa.array([7, None, 8]),
        "image": pa.array([png(), png(), None], pa.binary()),
        "label": broken,
        "kind": pa.array([["a"], None, None]),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "s.parquet")
    first, second, third = open_shards([str(tmp_path / "s.parquet")]).entries(0, 3)
    assert [one.id for one in (first, second, third)] == ["s/7", "s/1", "s/8"]
    with pytest.raises(DataError, match="list in the column kind"):
        first.make()
    assert second.make().label == "y"
    with pytest.raises(DataError, match="no image in its row"):
        third.make()
    parquet.write_table(pa.table({"image": ["text"], "path": broken[:1]}), tmp_path / "s.parquet")
    (only,) = open_shards([str(tmp_path / "s.parquet")]).entries(0, 1)
    assert only.id == "s/\\xffx"
    with pytest.raises(DataError, match="not an image in a known format"):
        only.make()


def test_shards_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "a.tar")
    (tmp_path / "l.tar").symlink_to("l.tar")
    for name, words in (("a.tar", "named pipe"), ("l.tar", "cannot be read"), ("\0.tar", "NUL|null")):
        with pytest.raises(DataError, match=words):
            open_shards([str(tmp_path / name)])
    with pytest.raises(ConfigError, match="more than 1000000 files"):
        open_shards([f"{tmp_path}/{{0..99999999999}}.tar"])
