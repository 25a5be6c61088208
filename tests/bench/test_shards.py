"""Images in tar and Parquet shards: the same records as from files, read in place."""

import io
import json
import os
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from bench_runs import records
from PIL import Image
from sample_shards import add, write_parquet, write_tar

from xai.bench import make_plan, read_benchmark, run_benchmark
from xai.bench.config.schema import DataConfig
from xai.bench.data.shard_source import INDEX, open_shards
from xai.bench.data.sources import open_source
from xai.core import ConfigError, DataError
from xai.data import read_image


def png(side: int = 32, colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "png")
    return file.getvalue()


@pytest.fixture(params=["tar", "parquet", "structs in parquet"])
def shards(request, photos, tmp_path):
    """Three samples and two, in two files."""
    for name, numbers in (("a", [0, 1, 2]), ("b", [3, 4])):
        if request.param == "tar":
            write_tar(tmp_path / f"{name}.tar", photos, numbers)
        else:
            write_parquet(
                tmp_path / f"{name}.parquet", photos, numbers, 2, request.param.startswith("structs")
            )
    return tmp_path


def test_records_equal_those_from_files(shards, config, tiny, tmp_path):
    """Only the names differ: samples are named by their shard."""
    metrics = {"metrics": ["srg", "rank_accuracy"]}
    run_benchmark(config(data={"shards": str(shards)}, **metrics), tmp_path / "run", classifier=tiny)
    run_benchmark(config(**metrics), tmp_path / "files", classifier=tiny)
    found, expected = records(tmp_path / "run"), records(tmp_path / "files")
    assert list(found["image"].unique()) == ["a/0", "a/1", "a/2", "b/3", "b/4"]
    assert found.assign(image=found["image"].str[2:]).equals(expected)


def test_a_range_opens_its_own_files(shards, photos):
    source = open_source(DataConfig(shards=(str(shards),)))
    assert len(source) == 5
    window = pickle.loads(pickle.dumps(source.window(2, 4)))  # noqa: S301 - our own
    assert [one.name for one in window.files] == ["a", "b"] and len(window) == 5
    for part in (source, window):
        entries = part.entries(2, 4)
        assert [one.id for one in entries] == ["a/2", "b/3"]
        sample = entries[1].make()
        assert np.array_equal(np.asarray(sample.image), np.asarray(read_image(photos / "3.png")))
        assert (sample.label, sample.group) == ("real", "video1")
        assert not sample.mask.any() and sample.mask.shape == (32, 40)
        assert part.content(2, 4) == source.content(2, 4)
    assert [one.name for one in source.window(3, 5).files] == ["b"]
    assert [one.id for one in source.entries(0, 5)] == ["a/0", "a/1", "a/2", "b/3", "b/4"]
    assert len(open_source(DataConfig(shards=(str(shards),), limit=4))) == 4


def test_shards_are_read_once_and_again_when_they_change(config, tiny, photos, tmp_path, monkeypatch):
    path = write_tar(tmp_path / "a.tar", photos, [0, 1])
    settings, run = config(data={"shards": str(path)}), tmp_path / "run"
    first = make_plan(settings, tiny, run)
    with monkeypatch.context() as patch:
        patch.setattr("xai.bench.data.shard_source.content_of_shard", None)
        again = make_plan(settings, tiny, run)
    assert list(again.work_items) == list(first.work_items) and again.identity == first.identity
    before = path.stat()
    write_tar(path, photos, [0, 2])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert make_plan(settings, tiny, run).identity["data"] != first.identity["data"]
    assert len(json.loads((run / INDEX).read_text())) == 1
    assert {one.key for one in make_plan(settings, tiny).work_items}.isdisjoint(
        one.key for one in first.work_items
    )


def test_numbers_globs_and_lists(photos, tmp_path):
    for number in (8, 9, 10):
        write_tar(tmp_path / f"s-{number:03d}.tar", photos, [0])
    names = ["s-008", "s-009", "s-010"]
    for patterns in (
        [f"{tmp_path}/s-{{008..010}}.tar"],
        [f"{tmp_path}/s-*.tar"],
        [f"{tmp_path}/s-008.tar", f"{tmp_path.as_uri()}/s-{{009..010}}.tar"],
        [f"{tmp_path.as_uri()}/s-0*.tar"],
        [tmp_path.as_uri()],
    ):
        assert [one.name for one in open_shards(patterns, None, None).files] == names
    (tmp_path / "bench.yaml").write_text("data: {shards: 's-{008..010}.tar'}\nmethods: [saliency]\n")
    data = read_benchmark(tmp_path / "bench.yaml").data
    assert [one.name for one in open_source(data).files] == names


def test_a_sample_that_cannot_be_used_costs_itself_only(config, tiny, tmp_path):
    with tarfile.open(tmp_path / "odd.tar", "w") as tar:
        add(tar, "deep/good.v1.png", b"not what its name says")  # key: good
        add(tar, "none.json", b"{}")
        add(tar, "broken.jpg", b"no image")
        add(tar, "list.json", b"[]")
        add(tar, "list.png", png())
        add(tar, "mask.png", png())
        add(
            tar,
            "size.png",
            png(),
        )
        add(tar, "size.mask.png", png(16))
        add(tar, "named.PNG", png(colour="blue"))
        add(tar, "named.cls", b"fake\n")
        add(tar, "README", b"no sample")
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(link)
    data = {"shards": str(tmp_path / "odd.tar")}
    result = run_benchmark(config(data=data, metrics=["deletion"]), tmp_path / "run", classifier=tiny)
    said = {one.image.removeprefix("odd/"): one.reason for one in result.exclusions}
    assert said.keys() == {"deep/good", "none", "broken", "list", "size"}
    assert "no image among v1.png" in said["deep/good"] and "no image among json" in said["none"]
    assert "holds no object" in said["list"] and "16 × 16" in said["size"]
    found = records(tmp_path / "run")
    assert set(found["image"]) == {"odd/mask", "odd/named"}
    assert set(found[found["image"] == "odd/named"]["label"]) == {"fake"}


def no_images(path):
    parquet.write_table(pa.table({"picture": [b""]}), path)


def one_name(path):
    parquet.write_table(pa.table({"image": [b"", b""], "path": ["x", "x"]}), path)


def one_key(path):
    with tarfile.open(path, "w") as tar:
        for name in ("x.png", "y.png", "x.json"):
            add(tar, name, png())


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.tar", lambda path: path.write_bytes(b"no tar at all"), "a.tar cannot be read"),
        ("a.tar", lambda path: tarfile.open(path, "w").close(), "hold no sample"),
        ("a.tar", one_key, "two samples are named 'x'"),
        ("a.tar", lambda path: None, "No such file"),
        ("a.tar.gz", lambda path: path.write_bytes(b""), "ends in .tar or .parquet"),
        ("a.parquet", lambda path: path.write_bytes(b"no parquet"), "a.parquet cannot be read"),
        ("a.parquet", no_images, "no column 'image'"),
        ("a.parquet", one_name, "two samples are named 'x'"),
    ],
)
def test_files_that_are_no_shards(tmp_path, name, write, words):
    write(tmp_path / name)
    with pytest.raises((ConfigError, DataError), match=words):
        open_shards([str(tmp_path / name)], None, None)


def test_two_shards_of_one_name(photos, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "a.tar", photos, [0])
    with pytest.raises(ConfigError, match="Two shards are named 'a'"):
        open_shards([f"{tmp_path}/*/a.tar"], None, None)


def test_a_shard_that_ends_too_early(photos, tmp_path):
    """A member whose header promises more than there is."""
    path = write_tar(tmp_path / "a.tar", photos, [0, 1])
    source = open_shards([str(path)], None, None)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError):
        source.entries(0, 1)[0].make()


def test_one_row_group_is_held(photos, tmp_path):
    path = write_parquet(tmp_path / "a.parquet", photos, [0, 1, 2, 3, 4], row_group_size=2)
    source = open_shards([str(path)], None, None)
    from xai.bench.data.shard_source import _open

    for entry in source.entries(0, 5):
        entry.make()
        assert _open(source.files[0])._held[1].num_rows <= 2
