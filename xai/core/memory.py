"""Memory of the process: tell its lack from other errors, and keep what is freed for what comes next."""

import ctypes
import os
import sys

_MALLOPT_TRIM_THRESHOLD, _MALLOPT_MMAP_MAX = -1, -4  # malloc.h
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


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
