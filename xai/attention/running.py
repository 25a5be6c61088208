"""Run a model as it is written, and look through its modules, parameters and graph.

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


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Every module of a model, each once; `model.modules()` also makes up their names, which takes longer."""
    found: dict[int, nn.Module] = {}
    waiting: list[nn.Module | None] = [model]
    while waiting:
        module = waiting.pop()
        if module is not None and id(module) not in found:
            found[id(module)] = module
            waiting.extend(module._modules.values())
    return list(found.values())


def parameters_of(model: nn.Module) -> Iterator[nn.Parameter]:
    """Every parameter of a model; shared ones come once for each module that has them."""
    for module in modules_of(model):
        for parameter in module._parameters.values():
            if parameter is not None:
                yield parameter


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Inside the block no parameter asks for a gradient; afterwards those do that did before."""
    trainable = [p for p in parameters_of(model) if p.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


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
