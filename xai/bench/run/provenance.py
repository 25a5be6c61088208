"""Where the numbers come from: everything needed to know what was run, on what, with what."""

import platform
from datetime import UTC, datetime
from typing import Any

import torch

from xai.bench.config.schema import BenchmarkConfig
from xai.core.versions import version_of, versions
from xai.models import Classifier

SCHEMA = "xai.benchmark/1"


def provenance(config: BenchmarkConfig, classifier: Classifier) -> dict[str, Any]:
    """Versions, machine, model and settings, JSON-ready."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": device_name(classifier.device),
        "threads": torch.get_num_threads(),
        "model": classifier.describe(),
        "processor": f"PIL {version_of('pillow')}",
        "dtype": str(classifier.dtype).removeprefix("torch."),
        "autocast": config.autocast,
        "batch_size": config.batch_size,
        "seed": config.seed,
    }


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()})"


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
