"""How far does the engine ray carry? Measured with one and two workers, then simulated for a large cluster.

Measured: images per second of the local engine and of one and two workers; what the engine itself costs for
each shard (workers that do nothing); what planning, looking at data, listing and closing cost; bytes.
From these alone a run of `--images` on `--gpus` workers is simulated, for several sizes of a shard.

    python benchmarks/scaling.py                  # all, some minutes; writes reports/scaling.{json,md}
    python benchmarks/scaling.py --simulate-only  # again with the costs in reports/scaling.json
"""

import argparse
import json
import os
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from measure import processor
from scaling_simulation import Cluster, simulate, tables

from xai.bench import BenchmarkConfig, RayOptions, RunContext, make_plan, run_benchmark
from xai.bench.data.files import names_in
from xai.bench.data.shard_files import ShardContent, content_of_shard, open_shard
from xai.bench.data.shard_source import ShardFile, ShardImages
from xai.bench.run.engines import ShardWork
from xai.bench.run.plan import WorkItems
from xai.bench.run.ray_worker import Worker, WorkerReport
from xai.bench.run.runner import engine_of
from xai.bench.run.store import Store
from xai.core.files import write_bytes

REPORTS = Path(__file__).parents[1] / "reports"
CONFIG = {
    "methods": ["gradient_weighted_attention", "attention_rollout"],
    "controls": {"random_seeds": 2, "greedy_images": 0},
    "protocols": [{"base": "vit-token", "steps": 7}, {"base": "vit-mean", "steps": 7}],
    "metrics": ["srg", "deletion", "insertion"],
    "batch_size": 32,
}


class Idle(Worker):
    """A worker that does nothing: what is left is the engine."""

    def ready(self) -> WorkerReport:
        return WorkerReport()

    def work(self, work: ShardWork) -> WorkerReport:
        return WorkerReport()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--gpus", type=int, default=1000)
    parser.add_argument("--kilobytes", type=float, default=100, help="of an image, assumed")
    parser.add_argument("--hours", type=float, default=5000, help="between two losses of one worker, assumed")
    parser.add_argument(
        "--store-ms", type=float, default=50, help="of one request to an object store, assumed"
    )
    parser.add_argument("--measured", type=int, default=64, help="images of the measured runs")
    parser.add_argument("--simulate-only", action="store_true")
    parser.add_argument("--out", type=Path, default=REPORTS / "scaling")
    asked = parser.parse_args()
    path = asked.out.with_suffix(".json")
    if asked.simulate_only:
        costs = json.loads(path.read_text())["measured"]
    else:
        with TemporaryDirectory() as folder:
            costs = measure(Path(folder), asked.measured)
    cluster = Cluster(int(asked.images), asked.gpus, asked.kilobytes * 1e3, asked.hours, asked.store_ms / 1e3)
    found = simulate(cluster, costs)
    write_bytes(path, (json.dumps({"measured": costs, **found}, indent=1) + "\n").encode())
    text = tables(cluster, costs, found)
    write_bytes(asked.out.with_suffix(".md"), text.encode())
    print(text)


def measure(folder: Path, images: int) -> dict:
    """All costs, in seconds and bytes."""
    costs = {
        "machine": {"cpu": processor(), "cores": os.cpu_count(), "load_before": os.getloadavg()[0]},
        "throughput": {name: throughput(folder / name, images, engine, ray) for name, engine, ray in (
            ("local", "local", None),
            ("ray, 1 worker", "ray", RayOptions(workers=1)),
            ("ray, 2 workers", "ray", RayOptions(workers=2)),
        )},
    }  # fmt: skip
    return (
        costs
        | sizes(folder / "local", images)
        | {
            "engine": scheduler(folder, 1000),
            "plan": planning(),
            "data": reading(folder),
            "files": listing(folder),
        }
    )


def throughput(out: Path, images: int, engine: str, ray: RayOptions | None) -> dict:
    """Images per second from the end of the first shard to that of the last, and of each shard its time."""
    config = BenchmarkConfig.model_validate(
        CONFIG | {"data": {"forgeries": {"count": images}}, "shard_size": 4, "device": "cpu"}
    )
    ends: list[tuple[float, int]] = []
    begun = perf_counter()
    result = run_benchmark(
        config, out, engine=engine, ray=ray, progress=lambda one: ends.append((perf_counter(), one.done))
    )
    units = result.work_items // (images // 4)
    shards = [next(at for at, done in ends if done >= (number + 1) * units) for number in range(images // 4)]
    workers = 1 if ray is None else ray.workers or 1
    steady = shards[-1] - shards[workers - 1]
    print(f"{engine} {workers}: {steady:.1f} s", file=sys.stderr)
    return {
        "workers": workers,
        "images_per_second": 4 * (len(shards) - workers) / steady,
        "until_first_shard": shards[0] - begun,
        "seconds": perf_counter() - begun,
        "shard_cv": float(np.std(np.diff(shards)) / np.mean(np.diff(shards))),
        "threads": 1 if engine == "ray" else int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
    }


def sizes(run: Path, images: int) -> dict:
    """Bytes and records of an image."""
    total = {
        name: sum(p.stat().st_size for p in (run / name).iterdir()) / images
        for name in ("parts", "maps", "views")
    }
    store = Store(run)
    units = store.planned_items()
    return {
        "bytes_per_image": total,
        "records_per_image": store.totals()[1] / images,
        "units_per_shard": len(units) / len({unit.shard for unit in units}),
        "plan_bytes_per_unit": (run / "plan.parquet").stat().st_size / len(units),
    }


def scheduler(folder: Path, shards: int) -> dict:
    """What the engine costs a shard: wall time with two workers that do nothing, and the driver's CPU."""
    import xai.bench.run.ray_engine as module

    config = BenchmarkConfig.model_validate(CONFIG | {"data": {"forgeries": {"count": 4}}})
    context = RunContext(config, folder / "idle", plans=True)
    plan = make_plan(config, context.classifier)
    (first, *_), start = [plan.work_items.of(0)], None
    work = [ShardWork(tuple(first), plan.source.window(0, 4))] * shards
    real, module.Worker = module.Worker, Idle
    asked: list[float] = []

    def watched():
        for one in work:
            asked.append(perf_counter())
            yield one

    try:
        with engine_of("ray", RayOptions(workers=2)) as engine:
            before = process_time()
            list(engine.run(context, Store(folder / "idle"), watched()))
            start = process_time() - before
    finally:
        module.Worker = real
    steady = asked[len(asked) // 5 :]  # the first wait for workers
    return {
        "seconds_per_shard": (steady[-1] - steady[0]) / (len(steady) - 1),
        "driver_cpu_per_shard": start / shards,
    }


def planning() -> dict:
    """What the driver does for every unit and shard of a large plan, with shards of data of 10 000 images."""
    files = [
        ShardFile(
            Path(f"data-{number:06d}.tar"), f"data-{number:06d}", ShardContent(10_000, f"{number:064x}")
        )
        for number in range(10_000)
    ]
    begun = perf_counter()
    source = ShardImages(files, 0, 10_000 * len(files))
    index = perf_counter() - begun
    config = BenchmarkConfig.model_validate(CONFIG | {"data": {"shards": "x.tar"}, "shard_size": 4096})
    common = config.model_dump(mode="json") | {"methods": {f"m{i}": "0" * 12 for i in range(12)}}
    units = WorkItems(
        config, source, common, {"a": "0" * 12, "b": "1" * 12}, lambda name, images: len(images)
    )
    some = range(0, units.shards, max(1, units.shards // 2000))
    key = _time(lambda: [units.of(shard) for shard in some]) / len(some) / 2
    window = _time(lambda: [source.window(shard * 4096, shard * 4096 + 4096) for shard in some]) / len(some)
    return {"seconds_per_unit": key, "seconds_per_window": window, "seconds_per_file": index / len(files)}


def reading(folder: Path) -> dict:
    """How fast a tar of the data is looked at, and opened again by a worker."""
    path, draws = folder / "data.tar", np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for number in range(2000):
            member = tarfile.TarInfo(f"{number:06d}.jpg")
            member.size = 100_000
            tar.addfile(member, BytesIO(draws.bytes(100_000)))
    content = content_of_shard(path)
    again = _time(lambda: content_of_shard(path))
    opened = _time(lambda: open_shard(path, content.sha256))
    return {
        "bytes_per_second": path.stat().st_size / again,
        "seconds_per_sample_to_open": opened / content.samples,
    }


def listing(folder: Path) -> dict:
    """One listing of many parts, and the footer of one."""
    parts = folder / "many"
    parts.mkdir()
    for number in range(20_000):
        (parts / f"{number:024x}.parquet").touch()
    seconds = _time(lambda: names_in(parts)) / 20_000
    store = Store(folder / "local")
    keys = sorted(store.keys())
    return {
        "seconds_per_name": seconds,
        "seconds_per_footer": _time(lambda: [store.notes(key) for key in keys]) / len(keys),
    }


def _time(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


if __name__ == "__main__":
    main()
