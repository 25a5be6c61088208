"""The kind of manipulation, from the data to the tables; runs of before there were kinds go on."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from bench_runs import record, records

from xai.bench import (
    page_of_run,
    read_benchmark,
    read_records,
    read_run,
    run_benchmark,
    summarise,
    to_markdown,
)
from xai.bench.config.method_configurations import digest
from xai.bench.data.sources import open_source, sha256_of
from xai.bench.run.store import Store, WorkResult
from xai.core import Record
from xai.report import to_html
from xai.stats.results import LEADING

ROOT = Path(__file__).parents[2]
KINDS = {"1": "splice", "2": "Deepfakes", "3": "pristine", "4": "pristine"}  # of picture 0 none is known
ROWS = [f"method_{i:02d}" for i in range(LEADING + 2)]
CONTROLS = ["random_0", "random_1", "center_prior"]


@pytest.fixture(scope="session")
def manifest(photos):
    """The shared manifest with a column of kinds."""
    head, *lines = (photos / "faces.csv").read_text().splitlines()
    lines = [f"{line},{KINDS.get(line[0], '')}" for line in lines]
    path = photos / "kinds.csv"
    path.write_text("\n".join([f"{head},kind", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(config, tiny, manifest, tmp_path_factory):
    """A finished run of it, over a metric that reads masks, too."""
    out = tmp_path_factory.mktemp("kinds")
    run_benchmark(settings(config, manifest), out, classifier=tiny)
    return out


def settings(config, manifest):
    return config(data={"manifest": str(manifest)}, metrics=["srg", "deletion", "rank_accuracy"])


def content_of(config, **data):
    source = open_source(config(data=data).data)
    return source.content(0, len(source))


@pytest.mark.parametrize("name", ["demo", "methods", "methods_costly"])
def test_published_runs_go_on(name):
    """Their images are what they were: the digest of the data, from the run's own file."""
    data = read_benchmark(ROOT / "configs" / f"{name}.yaml").data
    before = read_run(ROOT / "reports" / name).identity["data"]
    source = open_source(data)
    assert {"images": len(source), "digest": source.digest()} == before


def test_a_strength_tells_images_apart(config):
    forged = {"count": 4, "kinds": ["noise", "blur"]}
    plain = content_of(config, forgeries=forged)
    assert content_of(config, forgeries=forged | {"strength": 1}) == plain
    assert not set(content_of(config, forgeries=forged | {"strength": 2})) & set(plain)


def test_a_size_and_a_kind_tell_images_apart(config, photos, manifest):
    forged = {"count": 4, "kinds": ["splice", "seam"]}
    plain = content_of(config, forgeries=forged)
    assert content_of(config, forgeries=forged | {"size": 224}) == plain
    assert not set(content_of(config, forgeries=forged | {"size": 200})) & set(plain)
    without, with_kinds = (
        content_of(config, manifest=str(path)) for path in (photos / "faces.csv", manifest)
    )
    assert [one == other for one, other in zip(without, with_kinds, strict=True)] == [True] + 4 * [False]
    files = [sha256_of(photos / name) for name in ("0.png", "0_mask.png")]
    assert without[0] == digest(["0", "fake", "video0", *files], 16)  # as it was made before there were kinds


def test_records_say_the_kind(run, config, tiny, tmp_path):
    frame = read_records(run)
    found = frame["kind"].fillna("not known").groupby(frame["image"]).unique().map(list).to_dict()
    assert found == {"0": ["not known"]} | {image: [kind] for image, kind in KINDS.items()}
    forged = {"count": 3, "kinds": ["splice", "seam"], "size": 64, "pristine": True}
    parts = {"data": {"forgeries": forged}, "methods": ["raw_attention"], "metrics": ["srg"]}
    run_benchmark(config(**parts, controls={"raw_attention": False}), tmp_path, classifier=tiny)
    said = read_records(tmp_path, ["image", "kind", "label"]).drop_duplicates()
    assert len(said) == 6 and set(said["kind"]) == {"splice", "seam", "pristine"}
    assert all(image.endswith(f"-{kind}") for image, kind in zip(said["image"], said["kind"], strict=True))
    assert dict(zip(said["kind"], said["label"], strict=True))["seam"] == "real"


def older(run, folder, units):
    """A copy of a run whose first units were finished before there were kinds; the others are not there."""
    shutil.copytree(run, folder)
    store = Store(folder)
    for path in (folder / "parts").iterdir():
        table = parquet.read_table(path)
        path.unlink()
        if path.stem in units:
            parquet.write_table(table.drop_columns(["kind"]), path)
    return store


def test_a_run_of_before_there_were_kinds_is_read(run, tmp_path):
    store = older(run, tmp_path / "old", [unit.key for unit in Store(run).planned_items()])
    frame = read_records(store.folder)
    assert list(frame.columns) == list(read_records(run).columns) and frame["kind"].isna().all()
    assert records(store.folder).drop(columns="kind").equals(records(run).drop(columns="kind"))
    assert read_records(store.folder, ["kind"])["kind"].isna().sum() == len(frame)
    summary = summarise(store.folder)
    assert [part.kinds for part in summary.parts] == [{}] * 3
    assert "By kind" not in to_markdown(summary) + to_html(page_of_run(store.folder))


def test_a_run_of_before_there_were_kinds_goes_on(finished, config, tiny, tmp_path):
    """Without kinds in the data its units have the keys that they had."""
    first = Store(finished).planned_items()[0].key
    store = older(finished, tmp_path / "old", [first])
    result = run_benchmark(config(), store.folder, classifier=tiny)
    assert (result.resumed, result.work_items) == (1, 3)
    assert records(store.folder).equals(records(finished))


@pytest.fixture(scope="module")
def planted(finished, tmp_path_factory):
    """Forty images of two kinds and of none; row number i is better by i, on copies twice as much."""
    rng = np.random.default_rng(0)
    drawn = []
    for image in range(40):
        kind = {0: "copy_move", 1: "noise", 2: "noise"}.get(image % 4)
        for place, name in enumerate([*ROWS, *CONTROLS]):
            shift = place * (2 if kind == "copy_move" else 1) if name in ROWS else 0
            about = {"kind": kind, "control": name in CONTROLS, "saturated": False}
            drawn += [
                record(image, name, "srg", shift + rng.normal(), **about),
                record(image, name, "deletion", rng.normal(), **about),
                record(
                    image, name, "pointing_game", float(rng.random() < 0.5), **about | {"protocol": "maps"}
                ),
            ]
    folder = tmp_path_factory.mktemp("planted")
    about = json.loads((finished / "run.json").read_text())
    about["plan"] = {"images": 40, "units": [{"key": "all", "protocol": "mean"}]}
    (folder / "run.json").write_text(json.dumps(about))
    Store(folder).write("all", WorkResult(tuple(drawn)))
    return folder


def test_a_kind_is_analysed_as_if_it_were_all(planted, tmp_path):
    """Oracle: the summary of a run of nothing but this kind."""
    srg, deletion, pointing = summarise(planted).parts
    assert deletion.kinds == {}
    assert {kind: one.images for kind, one in srg.kinds.items()} == {"copy_move": 10, "noise": 20}
    (tmp_path / "run.json").write_bytes((planted / "run.json").read_bytes())
    rows = Store(planted).table().to_pylist()
    alone = tuple(Record(**row) for row in rows if row["kind"] == "noise")
    Store(tmp_path).write("all", WorkResult(alone))
    expected = [part for part in summarise(tmp_path).parts if part.metric != "deletion"]
    for part, only in zip((srg, pointing), expected, strict=True):
        assert only.kinds == {}, "one kind is none to be told apart"
        assert part.kinds["noise"].methods == only.analysis.methods and part.kinds["noise"].pairs == ()


def test_the_table_names_the_leading_methods_and_every_control(planted):
    summary = summarise(planted)
    text = to_markdown(summary)
    section = text[text.index("## By kind of manipulation") : text.index("## Controls and agreement")]
    assert re.findall("### .*", section) == ["### srg by kind, mean", "### pointing_game by kind, maps"]
    head, _, *lines = [line for line in section[: section.index("### poi")].splitlines() if line[:1] == "|"]
    assert head == "| method | copy_move (n=10) | noise (n=20) |"
    controls = ["*center_prior* (control)", "*random* (control)"]
    named = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert named[:LEADING] == ROWS[:1:-1] and sorted(named[LEADING:]) == controls
    best = summary.parts[0].kinds["copy_move"].method(ROWS[-1])
    numbers = [float(text) for text in re.findall(r"\d+\.\d+", lines[0].split(" | ")[1])]
    assert numbers == pytest.approx([best.mean, best.low, best.high], abs=0.1)
    assert best.mean == pytest.approx(2 * (len(ROWS) - 1), abs=1)


def test_the_page_has_the_same_tables(run):
    page = page_of_run(run)
    kinds = page.summary.as_dict()["parts"][0]["kinds"]
    assert {kind: one["images"] for kind, one in kinds.items()} == {
        "Deepfakes": 1,
        "pristine": 2,
        "splice": 1,
    }
    assert to_html(page).count("<summary>By kind of manipulation</summary>") == 2
    json.dumps(page.model_dump(), allow_nan=False)
