"""Run a model as it is written, and see that it gives an image the same answer each time.

Compiled code takes attention calls out of our sight, or keeps what it saw of an earlier call; activation
checkpointing makes the calls again while gradients are computed. Both are ways to run the same function
faster or in less memory, so they are switched off meanwhile.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointError

from xai.attention.modules import modules_of, parameters_of
from xai.core import ModelError
from xai.core.errors import first_line

# where libraries keep on the module that it recomputes: transformers, timm and open_clip, Swin and
# ConvNeXt, mmcv
CHECKPOINT_FLAGS = ("gradient_checkpointing", "grad_checkpointing", "use_checkpoint", "with_cp")
_RECOMPUTING = {
    "torch.utils.checkpoint",
    "deepspeed.runtime.activation_checkpointing.checkpointing",
    "fairscale.nn.checkpoint.checkpoint_activations",
    "megatron.core.tensor_parallel.random",
}
# what no propagation rule leaves in a graph
_ALWAYS_RULED = ("NativeLayerNorm", "Gelu", "Silu", "Relu", "Tanh", "Sigmoid")
_REMEDY = (
    "Switch activation checkpointing off, e.g. model.gradient_checkpointing_disable(): a map needs one "
    "image's activations only."
)
_AGAIN = 5  # passes compared where random numbers are drawn: a layer dropped now and then must show
_TOLERANCE = {torch.float16: 0.05, torch.bfloat16: 0.05}  # relative; kernels on a GPU may add in any order


class _Stance:
    """How many blocks want everything eager: the compiler's stance is one for all threads.

    Nothing is compiled before torch._dynamo is there, whose import takes a second: it is left to whoever
    compiles.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.taken, self.stack = Lock(), 0, False, ExitStack()

    def enter(self) -> None:
        with self.lock:
            if not self.taken and "torch._dynamo" in sys.modules:
                self.stack.enter_context(torch.compiler.set_stance("force_eager"))
                self.taken = True
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.taken = False
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
        for module in modules_of(model)
        for flag in CHECKPOINT_FLAGS
        if vars(module).get(flag) is True
    ]
    try:
        for module, flag in flagged:
            vars(module)[flag] = False
        with uncompiled(), checkpointing_as_model_error():
            yield
    finally:
        for module, flag in flagged:
            vars(module)[flag] = True


@contextmanager
def without_graph() -> Iterator[None]:
    """No gradients, yet no inference tensors: what a model keeps (BEiT) must serve gradients later.

    A model that switches gradients on itself still answers with a graph: detach what it says.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


@contextmanager
def checkpointing_as_model_error() -> Iterator[None]:
    """Inside the block torch's own refusals of activation checkpointing become a ModelError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, CheckpointError) or "use_reentrant" in str(error):
            raise ModelError(
                f"The model runs under activation checkpointing: {first_line(error)}", _REMEDY
            ) from None
        raise


def refuse_inference(model: nn.Module) -> None:
    """Make sure that gradients can pass through the model.

    Raises:
        ModelError: It was built under `torch.inference_mode`: torch keeps its parameters out of every graph.
    """
    if any(p.is_inference() for p in parameters_of(model)):
        raise ModelError(
            "The model was built under torch.inference_mode(), so no gradient can pass through it.",
            "Build or load it outside of inference_mode.",
        )


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
    """Look through the graph of a pass in which every operation was to follow rules of our own.

    Raises:
        ModelError: A part of it followed none: recomputed during backward, compiled, run in another thread.
    """
    for node in nodes_of(output):
        name = str(node.name())
        function = getattr(type(node), "_forward_cls", None)  # of a torch.autograd.Function
        if "Checkpoint" in name:
            raise ModelError(f"The model recomputes during backward ({name}).", _REMEDY)
        if function is not None and not function.__module__.startswith("xai."):
            raise ModelError(
                f"The model brings a backward pass of its own ({name}), for which there is no rule.",
                "Use a method that needs none, such as integrated_gradients.",
            )
        if name.startswith(_ALWAYS_RULED):
            raise ModelError(
                f"A part of the model ({name}) ran out of sight of the propagation rules, e.g. in a thread.",
                "Use a method that needs none, such as integrated_gradients.",
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


def is_traced(model: nn.Module) -> bool:
    """Whether a part of the model is a graph: exported, traced or scripted."""
    return any(isinstance(m, torch.fx.GraphModule | torch.jit.ScriptModule) for m in model.modules())


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
    with same_random_state(pixels.device) as drawn:
        try:
            with torch.no_grad(), _BatchStatistics():
                outputs = [model(pixels.clone(), *args)]  # a model may write over what it is given
                if drawn() or (training and passes > 1):
                    passes = max(passes, _AGAIN)
                outputs += [model(pixels.clone(), *args) for _ in range(passes - 1)]
        except _OfBatchError:
            _restore(buffers)
            raise ModelError(
                "Batch normalisation takes its statistics from the batch, so an image's answer depends on "
                "the images beside it.",
                _remedy(training) if training else "Give it running statistics (track_running_stats=True).",
            ) from None
        drew = drawn()
    written = _restore(buffers) if training else []
    logits = outputs[0]
    if not isinstance(logits, Tensor):  # what is no tensor is told where it is read
        return logits
    apart = max(float((logits - other).abs().max()) for other in outputs) if logits.numel() else 0.0
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
    names = ", ".join(training[:4]) + (" …" if len(training) > 4 else "")
    return f"Call model.eval() first; in training mode are: {names}."


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
        for module in modules_of(model)
    )


def random_state(device: torch.device) -> tuple[bytes, ...]:
    """The state of torch's own generators, to tell later whether a number was drawn from them."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return tuple(state.numpy().tobytes() for state in states)


@contextmanager
def same_random_state(device: torch.device) -> Iterator[Any]:
    """Gives a function that says whether torch drew random numbers; the states are put back."""
    python, numpy, before = random.getstate(), np.random.get_state(), random_state(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield lambda: random_state(device) != before
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
