"""The engine ray on a local cluster: the same records, whoever dies meanwhile.

A worker takes seconds to start, so there are two only where two are what is tested.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from bench_runs import records
from ray_victims import DRIVER, POISON, DiesOnce, DiesOverOneShard, pid_of, refusing
from safetensors.torch import load_file
from sample_shards import write_parquet, write_tar
from tiny_detector import write_detector
from typer.testing import CliRunner

from xai.bench import (
    RayOptions,
    RunContext,
    make_plan,
    read_benchmark,
    read_run,
    run_benchmark,
    status,
    summarise,
)
from xai.bench.data.shard_files import content_of_shard
from xai.bench.run.image_snapshots import read_snapshots
from xai.bench.run.precision import choose_precision
from xai.bench.run.ray_worker import Expected, Worker, WorkerReport
from xai.bench.run.runner import _work, engine_of
from xai.bench.run.store import Store
from xai.cli.main import app
from xai.core import DataError, ModelError, UsageError, XaiError
from xai.core.runtime import decisive

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")

WORKERS = RayOptions(workers=2)
UNITS = 9  # three shards under two protocols, and their maps


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs, started as a run starts them; runs use it as long as it is there."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where workers find `ray_victims`
    with engine_of("ray", WORKERS):
        import ray

        yield ray


@pytest.fixture(scope="module")
def local(write_benchmark, tmp_path_factory):
    """What the local engine makes of the same configuration; not to be changed."""
    folder = tmp_path_factory.mktemp("local")
    run_benchmark(write_benchmark(folder), folder / "local")
    return folder / "local"


def same(run, local):
    """The same units, records, maps and views; nothing twice, nothing left of a write."""
    assert Store(run).keys() == Store(local).keys()
    assert records(run).equals(records(local))
    for kind, read in (("maps", load_file), ("views", read_snapshots)):
        names = sorted(path.name for path in (local / kind).iterdir())
        assert names and sorted(path.name for path in (run / kind).iterdir()) == names
        if kind == "views":
            assert [read(run / kind / name) for name in names] == [
                read(local / kind / name) for name in names
            ]
    assert not list(run.rglob(".xai-writing-*"))


def test_the_precision_is_tried_where_the_work_will_be(cluster, yaml_file) -> None:
    context = RunContext(read_benchmark(yaml_file), plans=True)
    with engine_of("ray", WORKERS) as engine:
        assert "no more than its error is measured on" in engine.tried(choose_precision, context).reason
        assert engine.tried(pid_of, context) != os.getpid()
        with pytest.raises(UsageError, match="This is refused"):
            engine.tried(refusing, context)


def test_the_same_records_as_the_local_engine(cluster, yaml_file, local, tmp_path):
    seen = []
    result = run_benchmark(yaml_file, tmp_path / "run", engine="ray", ray=WORKERS, progress=seen.append)
    same(tmp_path / "run", local)
    assert (result.work_items, result.resumed, result.failed) == (UNITS, 0, ())
    assert [one.done for one in seen] == list(range(UNITS + 1))
    assert seen[-1].workers >= 1 and seen[-1].seconds_left == 0
    ray, alone = read_run(tmp_path / "run").content, read_run(local).content
    assert ray["identity"] == alone["identity"]
    assert (ray["sessions"][0]["engine"], alone["sessions"][0]["engine"]) == ("ray", "local")
    # either engine goes on with what the other began
    next((tmp_path / "run" / "parts").iterdir()).unlink()
    assert run_benchmark(yaml_file, tmp_path / "run").resumed == UNITS - 1
    same(tmp_path / "run", local)


def test_a_worker_killed_in_the_middle_of_a_write(cluster, yaml_file, local, tmp_path, monkeypatch):
    monkeypatch.setattr("xai.bench.run.ray_engine.Worker", DiesOnce)
    result = run_benchmark(yaml_file, tmp_path / "run", engine="ray", ray=RayOptions(workers=1))
    assert (tmp_path / "run" / "died").exists()
    assert result.failed == ()
    same(tmp_path / "run", local)


def test_a_driver_killed_and_the_same_command_again(cluster, yaml_file, local, tmp_path):
    """The first one has a cluster of its own, which ends with it."""
    run = tmp_path / "run"
    command = [sys.executable, "-c", DRIVER, str(yaml_file), str(run)]
    victim = subprocess.run(command, capture_output=True, text=True)
    assert victim.returncode == -9, victim.stderr
    assert 3 <= status(run).done < UNITS
    assert read_run(run).sessions[0].end is None
    command = ["benchmark", "run", str(yaml_file), "--out", str(run), "--engine", "ray", "--ray-workers", "1"]
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.stderr
    same(run, local)


def test_a_shard_that_kills_every_worker_is_given_up(cluster, yaml_file, local, tmp_path, monkeypatch):
    run = tmp_path / "run"
    command = ["benchmark", "run", str(yaml_file), "--out", str(run), "--engine", "ray", "--ray-workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr("xai.bench.run.ray_engine.Worker", DiesOverOneShard)
        found = CliRunner().invoke(app, [*command, "--ray-retries", "1"])
    assert found.exit_code == 4, found.stderr
    assert "(images 2 to 3, vit-token) given up after 2 attempts: its worker was lost" in found.stderr
    assert f"3 of {UNITS} work items failed; the same command tries them again." in found.stderr
    assert len(read_run(run).content["result"]["failed"]) == 3
    units = Store(run).planned_items()
    assert Store(run).keys() == {unit.key for unit in units if unit.shard != POISON}
    assert run_benchmark(yaml_file, run).resumed == UNITS - 3
    same(run, local)


def test_a_worker_says_what_is_wrong_with_it(yaml_file, tmp_path):
    """Without a cluster: what ends the run, and what may go well elsewhere."""
    context = RunContext(read_benchmark(yaml_file), tmp_path / "run")
    plan = make_plan(context.config, context.classifier)
    expected = Expected(decisive(), context.classifier.fingerprint)
    assert Worker(context, expected, 1).ready() == WorkerReport()
    for what, other in (
        ("versions", Expected({}, expected.fingerprint)),
        ("model", Expected(expected.versions, "other")),
    ):
        report = Worker(context, other, 1).ready()
        assert isinstance(report.error, ModelError) and f"has another {what} than the run" in str(
            report.error
        )
    context.__dict__["configurations"] = None  # something breaks that is no error of ours
    report = Worker(context, expected, 1).work(next(_work(plan, set())))
    assert report.error is None and report.crash.startswith("TypeError: ") and report.done == ()


def test_no_more_is_in_flight_than_there_are_workers(cluster, config, tmp_path):
    """A shard is asked for when there is somebody to do it."""
    settings = config(shard_size=1, metrics=["gini"], model=str(write_detector(tmp_path)))
    context = RunContext(settings, tmp_path / "run", plans=True)
    plan = make_plan(settings, context.classifier)
    asked, ended, most = 0, 0, 0

    def work():
        nonlocal asked, most
        for one in _work(plan, set()):
            asked += len(one.work_items)
            most = max(most, asked - ended)
            yield one

    with engine_of("ray", RayOptions(workers=1)) as engine:
        for one in engine.run(context, Store(tmp_path / "run"), work()):
            assert one.failure is None
            ended += 1
    assert (asked, ended) == (10, 10)  # of five shards
    assert 2 <= most <= 4  # two items of the shard at work, and of the one that waits if that takes long


def test_from_shards_to_results_behind_a_url(cluster, yaml_file, photos, tmp_path):
    write_tar(tmp_path / "a.tar", photos, [0, 1, 2])
    write_parquet(tmp_path / "b.parquet", photos, [3, 4])
    content = yaml.safe_load(yaml_file.read_text())
    yaml_file.write_text(
        yaml.safe_dump(content | {"data": {"shards": [(tmp_path / "a.tar").as_uri(), "b.parquet"]}})
    )
    run_benchmark(yaml_file, tmp_path / "local")
    url = (tmp_path / "far").as_uri()
    result = run_benchmark(yaml_file, url, engine="ray", ray=RayOptions(workers=1))
    assert str(result.folder) == url
    same(tmp_path / "far", tmp_path / "local")
    assert status(url).done == UNITS
    there, here = (summarise(one).parts[0].analysis for one in (url, tmp_path / "local"))
    assert repr(there) == repr(here)  # of so few images intervals are NaN, which equals nothing
    (tmp_path / "c.tar").write_bytes(b"no tar at all")
    with engine_of("ray", WORKERS) as engine, pytest.raises(DataError, match="c.tar cannot be read"):
        engine.each(content_of_shard, [tmp_path / "a.tar", tmp_path / "c.tar"])


def test_an_error_that_would_end_a_local_run_ends_this_one(cluster, yaml_file, tmp_path):
    content = yaml.safe_load(yaml_file.read_text())
    content["methods"] = [{"method": "gradient_weighted_attention", "options": {"layers": [40]}}]
    yaml_file.write_text(yaml.safe_dump(content))
    said = []
    for engine, options in (("local", None), ("ray", RayOptions(workers=1))):
        with pytest.raises(XaiError) as caught:
            run_benchmark(yaml_file, tmp_path / engine, engine=engine, ray=options)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1] and "40" in said[0][1]


def test_a_cluster_started_here_hears_this_machine_only(cluster):
    assert [node["NodeManagerAddress"] for node in cluster.nodes()] == ["127.0.0.1"]
    assert cluster.cluster_resources()["CPU"] == 2
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_cluster_without_room(cluster, yaml_file, tmp_path):
    with pytest.raises(UsageError, match=r"no room for a worker, which needs 1 CPU, 3 GPU: it has 2 CPU"):
        run_benchmark(yaml_file, tmp_path, engine="ray", ray=RayOptions(gpus=3))


def test_options_that_make_no_sense(yaml_file, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="0 workers"):
        RayOptions(workers=0)
    with pytest.raises(UsageError, match="--engine ray"):
        run_benchmark(yaml_file, tmp_path, ray=WORKERS)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'vit-xai\[ray\]'"):
        run_benchmark(yaml_file, tmp_path, engine="ray")
    assert not (tmp_path / "run.json").exists()
