"""What keeps a run small whatever the data, and where its folder may be."""

import pickle
from pathlib import Path

import pytest
from bench_runs import records

from xai.bench import RunContext, make_plan, read_records, run_benchmark, status
from xai.bench.config.method_configurations import digest
from xai.bench.data.files import RemotePath, folder_of, names_in, written_through
from xai.bench.data.manifest_table import TABLE
from xai.bench.data.shard_files import ShardContent
from xai.bench.data.shard_source import ShardFile, ShardImages
from xai.bench.data.sources import open_source, sha256_of
from xai.bench.run.plan import WorkItems
from xai.bench.run.store import Store
from xai.core import DataError, UsageError
from xai.data.manifest import load_samples, read_manifest


def test_units_by_number_are_those_in_order(config, tiny):
    checks = {"metrics": ["class_sensitivity"], "images": 3}
    for parts in ({}, {"metrics": ["srg", "gini"], "checks": checks}, {"checks": checks | {"images": 99}}):
        units = make_plan(config(**parts), tiny).work_items
        listed = list(units)
        assert len(units) == len(listed) == len({unit.key for unit in listed})
        assert [units[number] for number in range(len(units))] == listed
        assert (units[-1], units[1:3]) == (listed[-1], listed[1:3])
        with pytest.raises(IndexError):
            units[len(units)]


def test_a_billion_images_are_planned_at_once(config):
    """No list of them is made anywhere."""
    files = [
        ShardFile(Path(f"{n:05d}.tar"), f"{n:05d}", ShardContent(100_000, f"{n:064x}")) for n in range(10_000)
    ]
    source = ShardImages(files, 0, 10**9)
    units = WorkItems(
        config(shard_size=4096), source, {}, {"a": "h", "b": "i"}, lambda name, images: len(images)
    )
    assert len(units) == 2 * units.shards == 2 * -(-(10**9) // 4096)
    last = units[-1]
    assert (last.protocol, last.stop, last.shard) == ("b", 10**9, units.shards - 1)
    assert len(pickle.dumps(source.window(last.start, last.stop))) < 2000
    (crossing,) = [unit for unit in units.of(24) if unit.protocol == "a"]
    assert source.content(crossing.start, crossing.stop) == [
        ["00000", f"{0:064x}", 98_304, 100_000],
        ["00001", f"{1:064x}", 0, 2_400],
    ]


def test_a_manifest_is_read_once(config, tiny, photos, tmp_path, monkeypatch):
    data = config().data
    source = open_source(data, tmp_path)
    rows = read_manifest(data.manifest)
    entries = load_samples(rows).entries
    # as runs of before there was a table have it in their keys
    assert source.content(0, 5) == [
        digest(
            [one.id, one.label, one.group, *([one.kind] if one.kind else []),
             sha256_of(row.path), sha256_of(row.mask)],
            16,
        )
        for one, row in zip(entries, rows, strict=True)
    ]  # fmt: skip
    for found, listed in zip(source.entries(0, 5), entries, strict=True):
        assert (found.id, found.path, found.label, found.group, found.kind) == (
            listed.id, listed.path, listed.label, listed.group, listed.kind
        )  # fmt: skip
        assert (found.make().mask is None) == (listed.make().mask is None)
    monkeypatch.setattr("xai.bench.data.manifest_table.read_manifest", None)
    again = open_source(data, tmp_path)
    assert again.content(0, 5) == source.content(0, 5) and again.digest() == source.digest()
    window = pickle.loads(pickle.dumps(again.window(2, 4)))  # noqa: S301 - our own
    assert [one.id for one in window.entries(2, 4)] == ["2", "3"] and len(window) == 5
    assert window.content(3, 4) == source.content(3, 4)


def test_a_changed_file_is_read_again(config, photos, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in photos.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    data = config(data={"manifest": str(folder / "faces.csv")}).data
    before = open_source(data, tmp_path).content(0, 5)
    for name, place in (("3.png", 3), ("1_mask.png", 1)):
        (folder / name).write_bytes((folder / "0.png").read_bytes())
        now = open_source(data, tmp_path).content(0, 5)
        assert [a != b for a, b in zip(before, now, strict=True)] == [number == place for number in range(5)]
        before = now
    table = (folder / "faces.csv").read_text()
    (folder / "faces.csv").write_text(table.replace("real", "true"))
    assert [one.label for one in open_source(data, tmp_path).entries(0, 5)][-2:] == ["true", "true"]
    (tmp_path / TABLE).write_bytes(b"broken")
    assert len(open_source(data, tmp_path)) == 5
    (folder / "4.png").unlink()
    ((name, reason),) = open_source(data, tmp_path).faults()
    assert name == "4" and "faces.csv:6: no such image" in reason


def test_maps_and_views_of_the_first_images_only(config, tiny, finished, tmp_path):
    protocols = [{"base": "vit-mean", "name": "mean", "steps": 4}, "vit-token"]
    for name, keep in (("all", None), ("some", 2), ("none", 0)):
        settings = config(protocols=protocols, keep_images=keep)
        run_benchmark(settings, tmp_path / name, classifier=tiny)
        kept = {None: 3, 2: 1, 0: 0}[keep]
        assert [len(names_in(tmp_path / name / kind)) for kind in ("maps", "views")] == [kept, kept]
        assert records(tmp_path / name).equals(records(tmp_path / "all"))
    # it may change on a finished run; views are made again, maps only where a page needs them
    result = run_benchmark(config(protocols=protocols), tmp_path / "none", classifier=tiny)
    assert result.forwards == 0 and len(names_in(tmp_path / "none" / "views")) == 3


@pytest.fixture(params=["memory", "file"])
def far(request, tmp_path):
    if request.param == "file":
        return (tmp_path / "far").as_uri()
    return f"memory://{tmp_path.name}"


def test_a_run_behind_a_url(far, config, tiny, finished):
    result = run_benchmark(config(), far, classifier=tiny)
    assert result.resumed == 0 and records(far).equals(records(finished))
    assert status(far).done == 3 and not status(far).running
    Store(far).part(Store(far).planned_items()[1].key).unlink()
    assert run_benchmark(config(), far, classifier=tiny).resumed == 2
    assert records(far).equals(records(finished))
    assert len(read_records(far, ["image"])) == result.records
    with pytest.raises(DataError, match="holds no benchmark run"):
        status(f"{far}/none")


def test_remote_files_are_whole_or_not_there(far, monkeypatch):
    path = folder_of(far) / "deep" / "a.bin"
    assert not path.exists() and names_in(path.parent) == []
    path.write_whole(b"one")
    path.write_whole(b"two")
    assert path.read_bytes() == b"two" and names_in(path.parent) == ["a.bin"]
    assert (path.name, path.stem, str(path.parent)) == ("a.bin", "a", f"{far}/deep")
    copy = pickle.loads(pickle.dumps(path))  # noqa: S301 - our own
    assert copy == path and copy.read_bytes() == b"two"
    files, _ = path._place
    if "memory" not in far:  # where a file is written aside, it is cleared away when that fails
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(type(files), "mv", lambda *args: 1 / 0)
            path.write_whole(b"three")
        assert path.read_bytes() == b"two" and names_in(path.parent) == ["a.bin"]
    path.unlink()
    assert not path.exists()
    with written_through(folder_of(far)) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "x").write_text("text")
    assert (folder_of(far) / "sub" / "x").read_text() == "text"


def test_a_url_that_nothing_answers():
    with pytest.raises(UsageError, match="nowhere://x/run.json cannot be reached"):
        status("nowhere://x")


def test_a_context_lists_its_own_images(config, tiny):
    assert len(RunContext(config(), None, tiny).source) == 5
    assert isinstance(folder_of("s3://bucket/run"), RemotePath) and folder_of("a/b") == Path("a/b")
