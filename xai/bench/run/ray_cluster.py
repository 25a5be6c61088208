"""A Ray cluster: the library, the connection, and the room that it has for workers."""

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xai.bench.run.context import RunContext
from xai.bench.run.engines import RayOptions
from xai.bench.run.plan import device_of
from xai.core import UsageError

OBJECT_STORE = 200_000_000  # bytes of shared memory of a cluster started here: what is sent is small


def resources_of(context: RunContext, options: RayOptions) -> dict[str, float]:
    """Of one worker."""
    return {"CPU": options.cpus, "GPU": _gpus(context) if options.gpus is None else options.gpus}


def room_for(ray: Any, resources: dict[str, float]) -> int:
    """For how many workers the cluster has room."""
    there = ray.cluster_resources()
    return int(min(there.get(name, 0) // each for name, each in resources.items() if each))


def check_room(ray: Any, resources: dict[str, float]) -> None:
    """Refuse a cluster without room for one worker."""
    if not room_for(ray, resources):
        raise UsageError(
            f"The cluster has no room for a worker, which needs {_listed(resources)}: "
            f"it has {_listed(ray.cluster_resources())}.",
            "Add machines, or ask for so many workers (--ray-workers) and wait until they join.",
        )


def _gpus(context: RunContext) -> float:
    """One for a model that the configuration puts on a GPU."""
    kind, _, number = (device_of(context.config) or "cpu").partition(":")
    if number:
        raise UsageError(
            f"device: {kind}:{number} names one device of one machine; each worker has its own.",
            f"Say device: {kind}.",
        )
    return 1.0 if kind == "cuda" else 0.0


def death(error: Exception) -> str:
    """The first sentence of what Ray says of a lost worker."""
    text = " ".join(str(error).split())
    return f"its worker was lost ({type(error).__name__}: {text[:300]})"


def _listed(resources: Any) -> str:
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))


@contextmanager
def connected(ray: Any, options: RayOptions) -> Iterator[None]:
    """Be connected to a cluster; one that is started here ends here, and hears this machine only."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, object] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if options.address is None:
            cpus = options.workers and max(1, round(options.workers * options.cpus))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **quiet,
            )
        else:
            ray.init(address=options.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"No Ray cluster at {options.address or 'this machine'}: {' '.join(str(error).split())[:300]}",
            "ray start --head starts one; without --ray-address one is started here.",
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def ray_module(options: RayOptions) -> Any:
    """The library, told to report nothing to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if options.address is None:  # so that Ray takes the loopback address, which it does by itself elsewhere
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # a worker without a GPU of its own sees those of its machine, as any process there does
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            "The engine ray needs Ray, which is not installed.", "Run: pip install 'vit-xai[ray]'"
        ) from None
