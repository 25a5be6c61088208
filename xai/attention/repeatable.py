"""Does a model give an image the same answer each time, whatever stands beside it in the batch?"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from xai.core import ModelError

_AGAIN = 5  # passes compared where random numbers are drawn: a layer dropped now and then must show
_TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.05}  # relative; kernels on a GPU may add in any order


class _BatchStatistics(TorchFunctionMode):
    """Stops a pass before batch normalisation reads, or writes, statistics of the batch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            # input, running_mean, running_var, weight, bias, training
            training = kwargs.get("training", args[5] if len(args) > 5 else False)
            if training:
                raise _OfBatchError
        return func(*args, **kwargs)


class _OfBatchError(Exception):
    pass


def check_repeatable(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...] = (), *, passes: int = 2
) -> Tensor:
    """Run the model on the same pixels and compare its answers; it and the random state are as before.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W).
        args: Further arguments of the model.
        passes: How many; more where random numbers were drawn, or the model is in training mode.

    Returns:
        Its logits.

    Raises:
        ModelError: The answers differ, or depend on the batch, or the pass writes into buffers in training
            mode: because it is in training mode, or by design.
    """
    buffers = [(name, buffer, buffer.detach().clone()) for name, buffer in model.named_buffers()]
    training = sorted({type(module).__name__ for module in model.modules() if module.training})
    with _same_random_state(pixels.device) as drawn:
        try:
            with torch.no_grad(), _BatchStatistics():
                answers = [model(pixels.clone(), *args)]  # a model may write over what it is given
                if drawn() or (training and passes > 1):
                    passes = max(passes, _AGAIN)
                answers += [model(pixels.clone(), *args) for _ in range(passes - 1)]
        except _OfBatchError:
            _restore(buffers)
            raise ModelError(
                "Batch normalisation takes its statistics from the batch, so an image's answer depends on "
                "the images beside it.",
                _remedy(training) if training else "Give it running statistics (track_running_stats=True).",
            ) from None
        drew = drawn()
    written = _restore(buffers) if training else []
    logits = answers[0]
    if not isinstance(logits, Tensor):  # what is no tensor is told where it is read
        return logits
    apart = max(float((logits - other).abs().max()) for other in answers) if logits.numel() else 0.0
    if training and drew:
        raise ModelError(
            "The model is in training mode and draws random numbers (dropout, stochastic depth …): every "
            "pass would explain another model.",
            _remedy(training),
        )
    if written:
        raise ModelError(
            f"The model is in training mode and writes into its buffers ({', '.join(written[:3])}).",
            _remedy(training),
        )
    if apart > _TOLERANCE.get(logits.dtype, 1e-4) * float(logits.abs().max()):
        raise ModelError(
            f"The model gives the same image other logits each time (they differ by {apart:.3g}): it draws "
            "random numbers by design.",
            _remedy(training) if training else "Make the draw a fixed one, e.g. a mask that does not change.",
        )
    return logits


def _remedy(training: list[str]) -> str:
    shown = ", ".join(training[:4]) + (" …" if len(training) > 4 else "")
    return f"Call model.eval() first; in training mode are: {shown}."


def _restore(buffers: list[tuple[str, Tensor, Tensor]]) -> list[str]:
    """Put back the buffers that were written to; their names."""
    written = [
        (name, buffer, copy)
        for name, buffer, copy in buffers
        if not torch.equal(buffer.nan_to_num(), copy.nan_to_num())
    ]
    with torch.no_grad():
        for _, buffer, copy in written:
            buffer.copy_(copy)
    return [name for name, _, _ in written]


def may_vary(model: nn.Module) -> bool:
    """Whether a look at its modules leaves open that answers vary: training mode, no running statistics."""
    return any(
        module.training or (isinstance(module, _BatchNorm) and module.running_mean is None)
        for module in model.modules()
    )


def random_state(device: torch.device) -> tuple[bytes, ...]:
    """The state of torch's own generators, to tell later whether a number was drawn from them."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return tuple(state.numpy().tobytes() for state in states)


@contextmanager
def _same_random_state(device: torch.device) -> Iterator[Any]:
    """Gives a function that says whether torch drew random numbers; the states are put back."""
    python, numpy, before = random.getstate(), np.random.get_state(), random_state(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield lambda: random_state(device) != before
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
