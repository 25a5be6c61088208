"""What the benchmarks measure with: seconds, peak memory, spread, and rows in processes of their own."""

import ctypes
import gc
import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from xai.core.files import write_bytes


def processor() -> str:
    """Of this machine, by its model's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """What a page says of the device of its figures."""
    return torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU {processor()}"


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of a call, until the device has finished it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(call: Callable[[], object], device: torch.device) -> float:
    """Megabytes above the level before the call."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    call()
    return (_status("VmHWM") - before) / 2**10


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(key)).split()[1])


def limit_memory(share: float = 0.8) -> None:
    """On a CPU: so that a row that asks for too much fails by itself. Mapped libraries do not count."""
    limit = int(share * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def failure(error: BaseException) -> str:
    """What a row that failed says."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return "out of memory" if isinstance(error, MemoryError) or "memory" in str(error) else said[0][:120]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, and 5th and 95th percentile as `low` and `high`."""
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "low": ordered[int(0.05 * len(ordered))],
        "high": ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
    }


def in_fresh_process(
    function: Callable[[dict], dict], job: dict, limit: int = 900, preloaded: Sequence[str] = ()
) -> dict:
    """`function(job)` in a process of its own, so that no row inherits another's memory.

    Args:
        function: Found by its module's name; its answer is sent back.
        job: Its argument.
        limit: Seconds it may take.
        preloaded: Modules that are imported once, before the processes part; none: each starts from nothing.

    Returns:
        The answer, or the job with an `error` where the process was killed or took too long.
    """
    multiprocessing.set_forkserver_preload(list(preloaded))
    context = multiprocessing.get_context("forkserver") if preloaded else multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, job))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return {**job, "error": f"slower than {limit // 60} minutes"}
        return receiver.recv()
    except EOFError:
        return {**job, "error": "killed"}
    finally:
        process.kill()
        process.join()


def _answer(sender: Connection, function: Callable[[dict], dict], job: dict) -> None:
    try:
        answer = function(job)
    except Exception as error:  # a row that fails is a row, not the end
        answer = {**job, "error": failure(error)}
    sender.send(answer)
    sender.close()


def merged(
    earlier: dict, results: list[dict], header: dict, jobs: list[dict], place: Callable[[dict], Hashable]
) -> list[dict]:
    """The earlier results and in their places the new ones; only of the same machine and versions."""
    if earlier["header"] != header:
        raise SystemExit(f"The earlier run was made with {earlier['header']}: measure all rows again.")
    found = {place(one): one for one in [*earlier["results"], *results]}
    return [found[place(job)] for job in jobs if place(job) in found]


def save_results(path: Path, header: dict, results: list[dict]) -> None:
    """Write what was measured as JSON without indentation; eight digits are more than a page shows."""
    content = _rounded({"header": header, "results": results})
    write_bytes(path, (json.dumps(content, separators=(",", ":")) + "\n").encode())


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return float(f"{content:.8g}") if isinstance(content, float) else content
