"""Models of other libraries, and programs of other authors, in an environment of their own."""

import os
from importlib import import_module

import pytest

NEEDED = ("torchvision", "timm", "open_clip", "pytorch_grad_cam", "torchcam")
INSTALL = "pip install -c constraints-interop.txt torchvision grad-cam torchcam -e '.[dev,timm,open-clip]'"


def pytest_configure() -> None:
    """Without XAI_REQUIRE_INTEROP, which `make test-interop` sets, tests of what is missing are skipped."""
    if os.environ.get("XAI_REQUIRE_INTEROP", "") in ("", "0"):
        return
    missing = []
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
    if missing:
        raise pytest.UsageError(f"The tests of other libraries lack {', '.join(missing)}. {INSTALL}")
