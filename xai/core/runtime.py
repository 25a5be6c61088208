"""What a run depends on besides its inputs: versions of libraries, seeds, the memory of the process."""

import ctypes
import os
import platform
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version

__version__ = version("vit-xai")

LIBRARIES = (
    "torch",
    "transformers",
    "captum",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
)
DECISIVE = ("xai", "torch", "transformers", "captum", "numpy", "pillow")
"""Another version of these may change a map or a score, so that workers of one run share them."""
SAME_NUMBERS = "0.1.0"
"""The first version of this package whose maps, scores and forgeries are those of this one.

It stands for the package in the identity of runs, so that a release which changes no number goes on with runs
that an earlier one began. Raise it to the version in which a number changes.
"""
_MALLOPT_TRIM_THRESHOLD, _MALLOPT_MMAP_MAX = -1, -4  # malloc.h
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def version_of(name: str) -> str:
    """The installed version of a distribution, or "absent"."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries."""
    return {"python": platform.python_version(), "xai": __version__} | {
        name: version_of(name) for name in LIBRARIES
    }


def decisive() -> dict[str, str]:
    """Versions of what may change a map or a score."""
    return {name: number for name, number in versions().items() if name in DECISIVE}


def number_makers() -> dict[str, str]:
    """What a run ends with because it began with it: the same, with `SAME_NUMBERS` for this package."""
    return decisive() | {"xai": SAME_NUMBERS}


def derive_seed(seed: int, *names: object) -> int:
    """Derive the seed of a named stream; equal names give equal seeds on every machine.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") >> 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator or the machine ran out of memory: on the CPU torch says so in words only."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # torch's
        or "can't allocate memory" in text
        or "not enough memory" in text
        or "out of memory" in text
    )


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of freed tensors for the next ones, on Linux with glibc.

    By default it gives large blocks back to the kernel, which hands them out again as zeroed pages, at every
    layer of every pass: up to 30 % of the time of a forward pass on a CPU, and often nothing
    (`reports/freed_memory.md`). In return the process stays as large as its peak.

    For the owner of a process: the command `xai`, a worker of a cluster, your own program. Importing `xai`
    never does it. What the environment says of malloc is left as it is.

    Returns:
        Whether it is so now.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_MALLOPT_MMAP_MAX, 0) and mallopt(_MALLOPT_TRIM_THRESHOLD, -1))


def spin_briefly() -> bool:
    """Let torch's threads sleep soon, where they wait for each other at the end of every operation.

    GNU's OpenMP, which torch brings on Linux, spins for milliseconds first. Where a thread that draws
    pictures, or another program, needs one of the cores, that keeps it from the very thread that the others
    wait for (`reports/speed/waiting.md`).

    For the owner of a process, before torch is imported: OpenMP reads its environment once. What the
    environment says of waiting is left as it is.

    Returns:
        Whether it was asked for now.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _WAITING):
        return False
    os.environ["GOMP_SPINCOUNT"] = "5000"  # tens of microseconds
    return True
