"""Run a model as it is written: nothing compiled, nothing computed a second time during backward.

Compiled code takes attention calls out of our sight, or keeps what it saw of an earlier call; activation
checkpointing makes the calls again while gradients are computed. Both are ways to run the same function
faster or in less memory, so they are switched off meanwhile.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from xai.core import ModelError

# where libraries keep on the module that it recomputes: transformers, timm and open_clip, Swin and
# ConvNeXt, mmcv
CHECKPOINT_FLAGS = ("gradient_checkpointing", "grad_checkpointing", "use_checkpoint", "with_cp")
_RECOMPUTING = {
    "torch.utils.checkpoint",
    "deepspeed.runtime.activation_checkpointing.checkpointing",
    "fairscale.nn.checkpoint.checkpoint_activations",
    "megatron.core.tensor_parallel.random",
}
_REMEDY = (
    "Switch activation checkpointing off, e.g. model.gradient_checkpointing_disable(): a map needs one "
    "image's activations only."
)


class _Stance:
    """How many blocks want everything eager: the compiler's stance is one for all threads."""

    def __init__(self) -> None:
        self.lock, self.inside, self.stack = Lock(), 0, ExitStack()

    def enter(self) -> None:
        with self.lock:
            if not self.inside:
                self.stack.enter_context(torch.compiler.set_stance("force_eager"))
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.stack.close()


_STANCE = _Stance()


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside the block every `torch.compile` is ignored: modules, methods and functions run eagerly."""
    _STANCE.enter()
    try:
        yield
    finally:
        _STANCE.leave()


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """Inside the block the model runs eagerly and, where it has a flag for it, without checkpointing.

    The flags are as before afterwards, also after an exception.

    Raises:
        ModelError: When torch finds that a pass was computed a second time, and not alike.
    """
    flagged = [
        (module, flag)
        for module in model.modules()
        for flag in CHECKPOINT_FLAGS
        if vars(module).get(flag) is True
    ]
    try:
        for module, flag in flagged:
            vars(module)[flag] = False
        with uncompiled():
            yield
    except CheckpointError as error:
        first_line = str(error).partition("\n")[0]
        raise ModelError(f"The model recomputes what it should keep: {first_line}", _REMEDY) from None
    finally:
        for module, flag in flagged:
            vars(module)[flag] = True


def refuse_recomputation() -> None:
    """To be called inside of a forward pass that is followed by gradients.

    Raises:
        ModelError: When activation checkpointing is what makes this call.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in _RECOMPUTING:
            raise ModelError(
                "The model runs its attention under activation checkpointing "
                f"({frame.f_globals['__name__']}), which would run it a second time during backward.",
                _REMEDY,
            )
        frame = frame.f_back


def refuse_hidden_backward(output: Tensor) -> None:
    """Look through the graph of an output that our own rules were to shape.

    Raises:
        ModelError: When a part of it is recomputed during backward, or compiled: no rule acts there.
    """
    for node in nodes_of(output):
        name = str(node.name())
        if "Checkpoint" in name:
            raise ModelError(f"The model recomputes during backward ({name}).", _REMEDY)
        if "CompiledFunction" in name:
            raise ModelError(
                f"A part of the model is compiled ({name}).", "Give the model as it is before torch.compile."
            )


def nodes_of(output: Tensor) -> Iterator[Any]:
    """Every node of the autograd graph below an output, each once."""
    met: set[Any] = set()
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in met:
            met.add(node)
            waiting.extend(following for following, _ in node.next_functions)
            yield node


def is_compiled(model: nn.Module) -> list[str]:
    """Names of the modules that `torch.compile` returned or `Module.compile` changed; "" is the model."""
    return [
        name
        for name, module in model.named_modules()
        if "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
    ]


def is_checkpointing(model: nn.Module) -> list[str]:
    """Names of the modules whose flag for activation checkpointing is on; "" is the model."""
    return [
        name
        for name, module in model.named_modules()
        if any(vars(module).get(flag) is True for flag in CHECKPOINT_FLAGS)
    ]
