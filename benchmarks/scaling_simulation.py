"""The simulation of `scaling.py`: a driver, workers, shards; times as measured, losses at random."""

from dataclasses import dataclass
from heapq import heapify, heapreplace

import numpy as np

SHARDS = (16, 256, 4096)
FASTER = (1, 100, 1000)  # a worker, than one of this machine: GPUs differ, so the span is simulated
EVENTS = 300_000  # shards simulated one by one; a longer run goes on as it went
LISTED = 1000  # names in one answer of an object store
AT_ONCE = 16  # footers read at once
DAY = 86_400


@dataclass(frozen=True)
class Cluster:
    """What is simulated.

    Args:
        images: Of the data.
        workers: Each with one GPU.
        image_bytes: Of a file, assumed.
        hours: Between two losses of one worker, assumed.
        request: Seconds of one request to an object store, assumed.
    """

    images: int
    workers: int
    image_bytes: float
    hours: float
    request: float


def simulate(cluster: Cluster, costs: dict) -> dict:
    """Every size of a shard with every speed of a worker, and what does not depend on speed."""
    return {
        "cluster": vars(cluster) | {},
        "sizes": {str(size): fixed(cluster, costs, size) for size in SHARDS},
        "runs": [run(cluster, costs, size, faster) for faster in FASTER for size in SHARDS],
    }


def fixed(cluster: Cluster, costs: dict, size: int) -> dict:
    """Counts, bytes, and what is done before and after the work."""
    shards = -(-cluster.images // size)
    units = round(shards * costs["units_per_shard"])
    data = cluster.images * cluster.image_bytes
    look = data / costs["data"]["bytes_per_second"]
    plan = units * costs["plan"]["seconds_per_unit"]
    return {
        "shards": shards,
        "units": units,
        "files": units + 2 * shards,
        "plan_bytes": units * costs["plan_bytes_per_unit"],
        "bytes": {name: one * cluster.images for name, one in costs["bytes_per_image"].items()},
        "pixels_of_a_shard": size * 3 * 224 * 224 * 4,
        "look_by_driver": look,
        "look_by_workers": look / cluster.workers,
        "plan": plan,
        "ask_for_each": units * cluster.request,
        "list": units / LISTED * cluster.request,
        "close": units * cluster.request / AT_ONCE,
        "resume": 2 * plan + units / LISTED * cluster.request,
    }


def run(cluster: Cluster, costs: dict, size: int, faster: float) -> dict:
    """The work itself: workers take the next shard from one driver, which serves them in turn."""
    draws = np.random.default_rng(0)
    one = costs["throughput"]["ray, 1 worker"]
    mean = size / one["images_per_second"] / faster
    spread = np.sqrt(np.log1p(one["shard_cv"] ** 2))
    serve = costs["engine"]["driver_cpu_per_shard"] + costs["plan"]["seconds_per_window"]
    serve += costs["units_per_shard"] * costs["plan"]["seconds_per_unit"]
    shards = -(-cluster.images // size)
    events = min(shards, EVENTS)
    durations = draws.lognormal(np.log(mean) - spread**2 / 2, spread, events)
    again = one["until_first_shard"]  # a new worker: process, libraries, model
    lost = draws.random(events) < durations / (cluster.hours * 3600)
    part = draws.random(events)
    free = [0.0] * cluster.workers
    heapify(free)
    driver = waited = busy = wasted = 0.0
    for duration, dies, at in zip(durations, lost, part, strict=True):
        asked = free[0]
        begun = max(asked, driver) + serve
        driver, waited = begun, waited + begun - asked - serve
        extra = at * duration + again if dies else 0.0
        busy, wasted = busy + duration, wasted + extra
        heapreplace(free, begun + duration + extra)
    span = max(free) if events == shards else np.mean(free)
    whole = span * shards / events
    return {
        "size": size,
        "faster": faster,
        "seconds_of_a_shard": mean,
        "days": whole / DAY,
        "workers_busy": busy / (cluster.workers * span),
        "driver_busy": events * serve / span,
        "waited_for_driver": waited / events,
        "lost_to_deaths": wasted / (cluster.workers * span),
        "shards_a_second": events / span,
        "most_workers": mean / serve,
    }


def tables(cluster: Cluster, costs: dict, found: dict) -> str:
    """Everything as Markdown."""
    machine, engine = costs["machine"], costs["engine"]
    lines = [
        "# Scale",
        "",
        f"Measured on {machine['cpu']} ({machine['cores']} cores, load {machine['load_before']:.1f} before), "
        "simulated from that.",
        "",
        "## Measured",
        "",
        "| engine | images/s | threads of torch a worker | until the first shard |",
        "|---|---|---|---|",
        *(
            f"| {name} | {one['images_per_second']:.2f} | {one['threads']} "
            f"| {one['until_first_shard']:.1f} s |"
            for name, one in costs["throughput"].items()
        ),
        "",
        "| cost | value |",
        "|---|---|",
        f"| the engine, a shard, two idle workers | {1e3 * engine['seconds_per_shard']:.2f} ms |",
        f"| the driver's CPU, a shard | {1e3 * engine['driver_cpu_per_shard']:.2f} ms |",
        f"| key of a unit | {1e6 * costs['plan']['seconds_per_unit']:.0f} µs |",
        f"| window of a shard | {1e6 * costs['plan']['seconds_per_window']:.0f} µs |",
        f"| looking at a tar, one core | {costs['data']['bytes_per_second'] / 1e6:.0f} MB/s |",
        f"| opening a tar again, a sample | {1e6 * costs['data']['seconds_per_sample_to_open']:.0f} µs |",
        f"| listing, a part | {1e6 * costs['files']['seconds_per_name']:.1f} µs |",
        f"| footer of a part | {1e3 * costs['files']['seconds_per_footer']:.2f} ms |",
        f"| records of an image | {costs['records_per_image']:.0f} |",
        *(f"| {name}, an image | {one / 1e3:.1f} kB |" for name, one in costs["bytes_per_image"].items()),
        "",
        f"## Simulated: {cluster.images:.0e} images, {cluster.workers} workers".replace("e+0", "e"),
        "",
        f"Assumed: {cluster.image_bytes / 1e3:.0f} kB an image, a worker lost every {cluster.hours:.0f} h, "
        f"{1e3 * cluster.request:.0f} ms a request to the object store, {LISTED} names a listing's answer.",
        "",
        *_fixed(found["sizes"]),
        "",
        "A worker may be as fast as one here or many times faster:",
        "",
        *_runs(found["runs"]),
        "",
    ]
    return "\n".join(lines)


def _fixed(sizes: dict) -> list[str]:
    rows = [
        ("shards", lambda one: f"{one['shards']:,}"),
        ("units", lambda one: f"{one['units']:,}"),
        ("files: parts, maps, views", lambda one: f"{one['files']:,}"),
        ("parts", lambda one: _bytes(one["bytes"]["parts"])),
        ("maps and views of all images", lambda one: _bytes(one["bytes"]["maps"] + one["bytes"]["views"])),
        ("plan.parquet", lambda one: _bytes(one["plan_bytes"])),
        ("pixels of a shard in a worker's memory", lambda one: _bytes(one["pixels_of_a_shard"])),
        ("looking at the data, by one core of the driver", lambda one: _time(one["look_by_driver"])),
        ("… by one core of every worker", lambda one: _time(one["look_by_workers"])),
        ("keys of all units", lambda one: _time(one["plan"])),
        ("what is done: a request for each unit", lambda one: _time(one["ask_for_each"])),
        ("… one listing", lambda one: _time(one["list"])),
        ("closing: footers of all parts", lambda one: _time(one["close"])),
        ("going on after the driver died, before the first unit", lambda one: _time(one["resume"])),
    ]
    head = [
        "| | " + " | ".join(f"{size} images a shard" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    return head + [
        f"| {name} | " + " | ".join(say(one) for one in sizes.values()) + " |" for name, say in rows
    ]


def _runs(runs: list[dict]) -> list[str]:
    head = [
        "| worker | images a shard | time of a shard | shards/s | driver busy | workers busy "
        "| lost to deaths | whole run | workers that one driver can feed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {one['faster']} × | {one['size']} | {_time(one['seconds_of_a_shard'])} "
        f"| {one['shards_a_second']:.2f} "
        f"| {one['driver_busy']:.1%} | {one['workers_busy']:.1%} | {one['lost_to_deaths']:.2%} "
        f"| {_time(one['days'] * DAY)} | {one['most_workers']:,.0f} |"
        for one in runs
    ]


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _time(seconds: float) -> str:
    for unit, size in (("days", DAY), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 0.1 else f"{1e3 * seconds:.3g} ms"
