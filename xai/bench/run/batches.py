"""Batches as large as the memory allows."""

import gc
import logging
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar

import torch

from xai.core import ModelError
from xai.core.runtime import is_out_of_memory

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """Work in batches of at most `size`, halved for the rest of the run when memory runs out."""

    def __init__(self, size: int):
        self.size = size

    def run(self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """Results of all items, in order.

        Raises:
            ModelError: Not even one item fits.
        """
        done: list[Result] = []
        while len(done) < len(items):
            batch = items[len(done) : len(done) + self.size]
            try:
                done += work(batch)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise ModelError(
                        "Out of memory with one image.", "Use a smaller dtype or another device."
                    ) from None
                self.size = len(batch) // 2
                log.warning("Out of memory with %d images at once; going on with %d.", len(batch), self.size)
            else:
                continue
            release_memory()  # outside the handler, whose traceback holds the failed batch
        return done


def release_memory() -> None:
    """Give back what failed batches held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Meter:
    """Wall time and peak accelerator memory of a block, waiting for the device at both ends."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> "Meter":
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._start = perf_counter()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            self.peak_bytes = max(self.peak_bytes, torch.cuda.max_memory_allocated(self.device))
        self.seconds += perf_counter() - self._start
