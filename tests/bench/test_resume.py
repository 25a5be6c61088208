import json
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from bench_runs import COST, VICTIM, records, snapshots

from xai.bench import (
    RunContext,
    make_plan,
    read_benchmark,
    read_records,
    read_run,
    run_benchmark,
    run_item,
    status,
    summarise,
)
from xai.bench.data.files import only_writer
from xai.bench.run.store import Store
from xai.core import ConfigError, DataError, UsageError
from xai.core.runtime import SAME_NUMBERS

ROOT = Path(__file__).resolve().parents[2]


def test_killed_twice_and_resumed_equals_uninterrupted(yaml_file, tmp_path):
    run = tmp_path / "killed"
    command = [sys.executable, "-c", VICTIM, str(yaml_file), str(run)]
    victim = subprocess.run(command, capture_output=True, text=True)
    # killed in the middle of writing the third part, then in the middle of computing the fifth
    assert victim.stdout.split("\n")[:2] == [f"{signal.SIGKILL:d} 2 1", f"{signal.SIGKILL:d} 4 0"], (
        victim.stderr
    )
    assert status(run).done == 4
    assert not status(run).running
    assert len(read_records(run))  # what is there can be read
    assert 1 <= len(snapshots(run)) < 5
    result = run_benchmark(yaml_file, run)
    assert result.resumed == 4
    assert status(run).done == result.work_items == 9
    assert not list(run.rglob(".xai-writing-*"))

    whole = run_benchmark(yaml_file, tmp_path / "whole")
    assert whole.resumed == 0
    killed, uninterrupted = records(run), records(tmp_path / "whole")
    assert len(uninterrupted) == whole.records
    assert killed.equals(uninterrupted)
    assert snapshots(run) == snapshots(tmp_path / "whole")
    assert [one.index for one in snapshots(run)] == [0, 1, 2, 3, 4]


def test_a_finished_run_does_nothing_again(config, tiny, tmp_path, monkeypatch):
    run_benchmark(config(), tmp_path, classifier=tiny)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    sessions = read_run(tmp_path).content["sessions"]
    monkeypatch.setattr("xai.bench.run.engines.run_item", None)
    result = run_benchmark(config(), tmp_path, classifier=tiny)
    assert result.resumed == result.work_items == 3
    assert read_run(tmp_path).content["sessions"] == sessions  # only those that measured something
    # killed after the last part, before it was said to have ended; then a call that measures nothing
    run = read_run(tmp_path).content
    run["sessions"][-1]["end"] = None
    (tmp_path / "run.json").write_text(json.dumps(run))
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr("xai.bench.run.runner._close", Mock(side_effect=KeyboardInterrupt))
        run_benchmark(config(), tmp_path, classifier=tiny)
    assert len(read_run(tmp_path).content["sessions"]) == len(sessions)
    run_benchmark(config(), tmp_path, classifier=tiny)
    (*_, last) = read_run(tmp_path).content["sessions"]
    assert last["end"] and last | {"end": None} == sessions[-1] | {"end": None}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()} == before


def test_units_and_settings_travel_to_another_process(yaml_file, tmp_path):
    config = read_benchmark(yaml_file)
    result = run_benchmark(config, tmp_path / "run")
    context = pickle.loads(pickle.dumps(RunContext(config)))  # noqa: S301 - our own
    plan = make_plan(config, context.classifier)
    assert len(plan.work_items) == result.work_items
    unit = pickle.loads(pickle.dumps(plan.work_items[0]))  # noqa: S301 - our own
    outcome = run_item(context, unit)
    store = Store(tmp_path / "run")
    store.write("again", outcome)
    columns = [name for name in outcome.records[0].as_dict() if name not in COST]
    import pyarrow.parquet as parquet

    first, again = (parquet.read_table(store.part(key)).select(columns) for key in (unit.key, "again"))
    assert first.equals(again)


def test_two_runs_cannot_write_the_same_folder(config, tiny, tmp_path):
    with only_writer(tmp_path), pytest.raises(UsageError, match=r"process \d+"):
        run_benchmark(config(), tmp_path, classifier=tiny)
    run_benchmark(config(), tmp_path, classifier=tiny)
    assert not status(tmp_path).running


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": ["gradient_weighted_attention"]}, "methods .*attention_rollout.*absent"),
        ({"protocols": [{"base": "vit-mean", "name": "mean", "steps": 8}]}, "protocols .*mean: "),
        ({"metrics": ["srg"]}, "metrics"),
        ({"seed": 1}, r"seed \(0 → 1\)"),
        ({"shard_size": 3}, r"shard_size \(2 → 3\)"),
        ({"explain": "logit"}, r"explain \(margin → logit\)"),
    ],
)
def test_a_changed_configuration_is_refused_by_name(config, tiny, finished, change, words):
    with pytest.raises(ConfigError, match=words):
        run_benchmark(config(**change), finished, classifier=tiny)


def test_changed_images_are_refused(config, tiny, finished, photos):
    data = {"manifest": str(photos / "faces.csv"), "limit": 4}
    with pytest.raises(ConfigError, match="data .*images: 5 → 4"):
        run_benchmark(config(data=data), finished, classifier=tiny)


def test_what_does_not_change_records_may_change(config, tiny, finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    changed = config(name="other", statistics={"resamples": 199, "alpha": 0.01}, batch_size=3)
    result = run_benchmark(changed, tmp_path, classifier=tiny)
    assert result.resumed == result.work_items
    assert summarise(tmp_path).parts[0].analysis.alpha == 0.01
    assert read_run(tmp_path).content["name"] == "other"


def test_a_release_that_changes_no_number_goes_on(config, tiny, finished, monkeypatch):
    monkeypatch.setattr("xai.core.runtime.__version__", "99.0.0")
    result = run_benchmark(config(), finished, classifier=tiny)
    assert result.resumed == result.work_items
    monkeypatch.setattr("xai.core.runtime.SAME_NUMBERS", "99.0.0")  # which one that changes a number says
    with pytest.raises(ConfigError, match=r"xai: \S+ → 99\.0\.0"):
        run_benchmark(config(), finished, classifier=tiny)


def test_published_runs_are_of_these_numbers():
    runs = [json.loads(path.read_text("utf-8")) for path in (ROOT / "reports").rglob("run.json")]
    assert runs and {run["identity"]["versions"]["xai"] for run in runs} == {SAME_NUMBERS}


def test_before_the_first_part_anything_may_change(config, tiny, tmp_path, monkeypatch):
    def failing(*args):
        raise DataError("no")

    with monkeypatch.context() as patch:
        patch.setattr("xai.bench.run.engines.run_item", failing)
        with pytest.raises(DataError, match="no"):
            run_benchmark(config(), tmp_path, classifier=tiny)
    assert run_benchmark(config(seed=1), tmp_path, classifier=tiny).resumed == 0


def test_a_full_disk_keeps_what_is_done(config, tiny, tmp_path, monkeypatch):
    import errno
    import os

    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(list((tmp_path / "parts").glob("*.parquet"))) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="disk.* is full"):
            run_benchmark(config(), tmp_path, classifier=tiny)
    assert status(tmp_path).done == 1
    assert not list(tmp_path.rglob(".xai-writing-*"))
    assert run_benchmark(config(), tmp_path, classifier=tiny).resumed == 1


def test_a_broken_part_is_named(config, tiny, tmp_path):
    run_benchmark(config(), tmp_path, classifier=tiny)
    part = sorted((tmp_path / "parts").iterdir())[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match=part.name):
        read_records(tmp_path)
    part.unlink()
    assert run_benchmark(config(), tmp_path, classifier=tiny).resumed == 2


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(DataError, match="holds no benchmark run"):
        status(tmp_path)


def test_maps_are_kept_and_reused(config, tiny, tmp_path, monkeypatch):
    run_benchmark(config(), tmp_path, classifier=tiny)
    before = records(tmp_path)
    for part in (tmp_path / "parts").iterdir():
        part.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("xai.bench.run.context.make_maps", None)  # would be called to make maps
        run_benchmark(config(), tmp_path, classifier=tiny)
    assert records(tmp_path).equals(before)
    # maps of other pixels or another model are never taken for these
    for path in (tmp_path / "maps").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    for part in (tmp_path / "parts").iterdir():
        part.unlink()
    run_benchmark(config(), tmp_path, classifier=tiny)
    assert records(tmp_path).equals(before)


def test_batch_sizes_do_not_change_values(config, tiny, finished, tmp_path):
    run_benchmark(config(batch_size=3), tmp_path, classifier=tiny)
    one, other = records(finished), records(tmp_path)
    assert torch.allclose(
        torch.tensor(one["value"].to_numpy()), torch.tensor(other["value"].to_numpy()), atol=1e-5
    )
