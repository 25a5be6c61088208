"""What made a number: the versions, the machine and the arithmetic, as pages and runs write it down."""

import platform
from typing import Any

import torch

from xai.core.runtime import versions
from xai.models.classifier import Classifier


def provenance(classifier: Classifier) -> dict[str, Any]:
    """Versions, platform, device and type of the weights, JSON-ready."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "device": device_name(classifier.device),
        "dtype": str(classifier.dtype).removeprefix("torch."),
    }


def device_name(device: torch.device) -> str:
    """What a person calls the device."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()})"
