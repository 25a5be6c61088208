"""One stream of perturbed states through the model: full batches, nothing computed twice.

States of all images, methods, steps and requests that share an operator are queued together, those of one
image side by side; where smaller states cost less, a batch holds states of one size as far as that pays.
Masks are built per batch, on the device, from ranks. Equal removed sets of an image are computed once, and
what removes nothing once for all operators. Scores are read at the end.
"""

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from xai.attention import evaluation_mode, readout_layer, readout_only
from xai.attention.running import without_graph
from xai.core import ModelError, ProblemType, UsageError, problem_type_of
from xai.core.classes import check_index
from xai.core.runtime import is_out_of_memory
from xai.core.target import SCORES
from xai.perturb.operator import Operator
from xai.perturb.ranks import image_seeds
from xai.perturb.states import Queue, Request, plan

log = logging.getLogger(__name__)
_ON_CPU, _ELSEWHERE = 8, 32  # images per forward pass
_KEPT = 64  # images whose searched baseline is kept


class Stream:
    """Runs a classifier on perturbed states.

    Args:
        classifier: Pixels (B, 3, H, W) in, logits (B, C) out. Not changed; run in evaluation mode.
        batch_size: Images per forward pass; halved for good when memory runs out. By default 8 on a CPU,
            whose caches hold what those need (`benchmarks/last_layer.py`), and 32 on other devices.
        autocast: Type in which matrix products run (torch.bfloat16 on GPUs), None for the model's own.
        seed: Of everything random.

    Attributes:
        forwards: Images that went through the model so far.
        states: States asked for so far; forwards saved = states − forwards.
    """

    def __init__(
        self,
        classifier: nn.Module,
        *,
        batch_size: int | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ):
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size={batch_size} must be 1 or more.")
        self.classifier = classifier
        self._batch_size = batch_size
        self.autocast = autocast
        self.seed = seed
        self.forwards = 0
        self.states = 0
        self._found: dict[tuple[object, ...], Tensor] = {}

    @property
    def batch_size(self) -> int:
        """Images per forward pass; where none was given, by where the classifier is now."""
        if self._batch_size is not None:
            return self._batch_size
        first = next(self.classifier.parameters(), None)
        return _ON_CPU if first is None or first.device.type == "cpu" else _ELSEWHERE

    def evaluate(self, pixels: Tensor, targets: Tensor, requests: Sequence[Request]) -> list[Tensor]:
        """The score of every state of every request.

        Args:
            pixels: (B, 3, H, W).
            targets: (B,) class indices.
            requests: States may name any image of the batch.

        Returns:
            Per request (S,) float32 on the CPU, in the order of its states.

        Raises:
            UsageError: When images, targets or states do not fit each other or the model.
            ModelError: When one image does not fit into memory, or the operator cannot be used on the model.
        """
        _check(pixels, targets, requests)
        device = next((p.device for p in self.classifier.parameters()), pixels.device)
        seeds = image_seeds(pixels, self.seed)
        pixels = pixels.detach().to(device)
        names = sorted({request.score for request in requests})
        kind = problem_type_of(self.classifier)
        reader = _Reader(names, targets.to(device, torch.long), int(targets.max()), kind)

        def by_size(operator: Operator) -> bool:
            with torch.autocast(device.type, enabled=False):
                return operator.gains_by_size(self.classifier, pixels)

        with evaluation_mode(self.classifier), self._modes(device):
            queues, places = plan(requests, len(pixels), device, self.batch_size, by_size)
            parts = [part for queue in queues for part in self._run(queue, pixels, seeds, reader)]
        table = torch.cat(parts).cpu() if parts else torch.empty(0, len(names))
        self.states += sum(len(request.states) for request in requests)
        return [
            table[place, names.index(request.score)] for request, place in zip(requests, places, strict=True)
        ]

    @contextmanager
    def _modes(self, device: torch.device) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(without_graph())
            if self.autocast is not None:
                stack.enter_context(torch.autocast(device.type, dtype=self.autocast))
            yield

    def _run(self, queue: Queue, pixels: Tensor, seeds: Sequence[int], reader: "_Reader") -> Iterator[Tensor]:
        """(n, scores) of one batch of the queue after the other."""
        baseline = None
        if queue.operator is not None:
            with torch.autocast(pixels.device.type, enabled=False):
                baseline = self._baseline(queue.operator, pixels, seeds)
        seed_table = torch.tensor(seeds)
        last = readout_layer(self.classifier, pixels)
        start, searched = 0, queue.operator is not None and queue.operator.passes > 1
        for end in np.cumsum(queue.lengths).tolist():
            while start < end:
                stop = min(start + self.batch_size, end)
                with readout_only(self.classifier, last), self._counted(searched):
                    logits = self._attempt(queue, slice(start, stop), pixels, baseline, seed_table)
                if logits is None:
                    self._halve(stop - start, pixels.device)
                    continue
                self.forwards += 0 if searched else stop - start
                yield reader(logits.detach(), queue.columns[0, start:stop])
                start = stop

    def _baseline(self, operator: Operator, pixels: Tensor, seeds: Sequence[int]) -> Tensor | None:
        """What the operator prepares; what it has searched for is kept for the last images."""
        if not operator.image_passes:
            return operator.prepare(self.classifier, pixels, seeds)
        weights = sum(one._version for one in self.classifier.parameters())  # changed in place, it is another
        keys = [(operator, weights, tuple(pixels.shape[1:]), seed) for seed in seeds]
        new = [place for place, key in enumerate(keys) if key not in self._found]
        if new:
            with self._counted(True):
                made = operator.prepare(self.classifier, pixels[new], [seeds[place] for place in new])
            if made is None:
                return None
            self._found |= {keys[place]: one for place, one in zip(new, made, strict=True)}
        baseline = torch.stack([self._found[key] for key in keys])
        for key in list(self._found)[: -max(_KEPT, len(keys))]:
            del self._found[key]
        return baseline

    @contextmanager
    def _counted(self, searched: bool) -> Iterator[None]:
        """Counts every image that passes through, where an operator asks the model as often as it likes."""

        def count(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            self.forwards += len(given[0])

        handle = self.classifier.register_forward_pre_hook(count) if searched else None
        try:
            yield
        finally:
            if handle is not None:
                handle.remove()

    def _attempt(
        self, queue: Queue, part: slice, pixels: Tensor, baseline: Tensor | None, seeds: Tensor
    ) -> Tensor | None:
        """Logits of one batch of the queue, None if it does not fit into memory."""
        image, row = queue.columns[:, part]
        low, high = queue.bounds[:, part, None, None]
        host = queue.image[part]
        index = int(host[0]) if (host == host[0]).all() else image
        try:
            batch = _select(pixels, index, len(host))
            if queue.operator is None:
                return self.classifier(batch)
            ranks = queue.rankings.index_select(0, row)
            removed = (ranks >= low) & (ranks < high)
            under = None if baseline is None else _select(baseline, index, len(host))
            return queue.operator.logits(self.classifier, batch, under, removed, seeds[host])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def _halve(self, tried: int, device: torch.device) -> None:
        if tried == 1:
            raise ModelError(
                f"Out of memory with one image on {device}.",
                "Use a smaller dtype, autocast or another device.",
            )
        self._batch_size = tried // 2
        log.warning("Out of memory with %d images at once; going on with %d.", tried, self._batch_size)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _select(images: Tensor, index: Tensor | int, count: int) -> Tensor:
    """(count, 3, H, W) of a batch of images: a view where they are all one image, or each one colour."""
    if isinstance(index, int):
        return images[index : index + 1].expand(count, -1, -1, -1)
    if images.stride(2) == 0 and images.stride(3) == 0:
        return images[:, :, :1, :1].index_select(0, index).expand(-1, *images.shape[1:])
    return images.index_select(0, index)


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the scores asked for.

    Args:
        names: Of `SCORES`.
        targets: (B,) class of every image, on the device.
        highest: Of the targets, on the host.
        problem_type: What the classifier's logits mean.
    """

    names: Sequence[str]
    targets: Tensor
    highest: int
    problem_type: ProblemType

    def __call__(self, logits: Tensor, image: Tensor) -> Tensor:
        """(n, scores) float32 of logits (n, classes) of states of the images (n,)."""
        check_index(self.highest, logits.shape[1])
        logits, targets = logits.float(), self.targets.index_select(0, image)
        read = [SCORES[name](logits, targets, self.problem_type) for name in self.names]
        return torch.stack(read, dim=1)


def _check(pixels: Tensor, targets: Tensor, requests: Sequence[Request]) -> None:
    if pixels.dim() != 4 or not pixels.is_floating_point() or not len(pixels):
        raise UsageError(f"Pixels must be (B, 3, H, W); got {pixels.dtype} {tuple(pixels.shape)}.")
    if targets.shape != pixels.shape[:1] or targets.is_floating_point() or targets.dtype == torch.bool:
        raise UsageError(
            f"{len(pixels)} images need {len(pixels)} class indices; got {targets.dtype} "
            f"{tuple(targets.shape)}."
        )
    if int(targets.min()) < 0:
        raise UsageError(f"Class index {int(targets.min())} is out of range.")
    for request in requests:
        images = request.states.image
        if len(images) and not 0 <= int(images.min()) <= int(images.max()) < len(pixels):
            raise UsageError(f"A ranking belongs to an image that is not among the {len(pixels)}.")
        units, size = request.states.rankings.shape[1:], pixels.shape[2:]
        if units[0] > size[0] or units[1] > size[1]:
            raise UsageError(f"Units {tuple(units)} are finer than the pixels {tuple(size)}.")
