"""Where the numbers come from: everything needed to know what was run, on what, with what."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from xai.bench.config import BenchmarkConfig
from xai.bench.plan import autocast_of
from xai.models import Classifier

SCHEMA = "xai.benchmark/1"
LIBRARIES = ("torch", "transformers", "captum", "numpy", "scipy", "pandas", "pyarrow", "pillow")


def provenance(config: BenchmarkConfig, classifier: Classifier) -> dict[str, Any]:
    """Versions, machine, model and settings, JSON-ready."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": device_name(classifier.device),
        "threads": torch.get_num_threads(),
        "model": classifier.describe(),
        "processor": f"PIL {_version('pillow')}",
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "autocast": autocast_of(config, classifier),
        "batch_size": config.batch_size,
        "seed": config.seed,
    }


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that its numbers depend on."""
    return {"python": platform.python_version(), "xai": _version("vit-xai")} | {
        name: _version(name) for name in LIBRARIES
    }


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()})"


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
