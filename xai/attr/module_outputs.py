"""What a model's modules return in a forward pass: where it stands in the graph, and a leaf in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai.attention import frozen
from xai.attr.graph_cuts import Edge, edge_of
from xai.core import ModelError


@dataclass(frozen=True)
class Place:
    """One output of a module.

    Args:
        name: Path of the module in the model.
        call: Which of its runs in a forward pass, from 0.
    """

    name: str
    call: int

    @contextmanager
    def watched(self, model: nn.Module, factor: float | None = None) -> Iterator[list[Tensor]]:
        """The list holds the tensor after a pass in the block, which goes on with it times the factor."""
        seen: list[Tensor] = []

        def look(tensor: Tensor) -> Tensor | None:
            seen.append(tensor.detach().clone())  # what follows may write over it
            return None if factor is None else tensor * factor

        with self._replaced(model, look):
            yield seen
        self._check(seen)

    @contextmanager
    def as_leaf(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """The list holds the tensor after a pass in the block, as the leaf at which the pass's graph begins.

        Parameters are frozen in the block, so what comes before it has no graph.
        """
        leaves: list[Tensor] = []

        def cut(tensor: Tensor) -> Tensor:
            if tensor.is_inference():
                raise ModelError(
                    f"The model computes {self.name} under torch.inference_mode(), which bars all gradients.",
                    "Use torch.no_grad() there, or a method without gradients: occlusion, rise or lime.",
                )
            torch.set_grad_enabled(True)  # also inside a model that runs its backbone under no_grad
            leaves.append(tensor.detach().requires_grad_())
            return leaves[0].clone()  # a leaf itself must not be written over

        with frozen(model), self._replaced(model, cut):
            yield leaves
        self._check(leaves)

    @contextmanager
    def _replaced(self, model: nn.Module, replace: Any) -> Iterator[None]:
        runs = 0

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            nonlocal runs
            runs += 1
            tensor = tensor_of(output)
            if runs - 1 != self.call or tensor is None:
                return None
            new = replace(tensor)
            if new is None or isinstance(output, Tensor):
                return new
            return type(output)([new, *output[1:]])

        handle = model.get_submodule(self.name).register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def _check(self, seen: list[Tensor]) -> None:
        if not seen:
            raise ModelError(
                f"{self.name} returned no tensor this time: the model runs otherwise than before."
            )


@dataclass(frozen=True)
class Output:
    """A tensor that a module returned: where, of what shape, and its place in the graph."""

    place: Place
    shape: torch.Size
    edge: Edge | None


def outputs_of(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...], name: str | None = None
) -> tuple[Any, Tensor, list[Output]]:
    """One pass: the logits, the pixels as the leaf of their graph, and what modules returned, in this order.

    Args:
        model: Pixels in, logits out.
        pixels: (B, channels, H, W).
        args: Further arguments.
        name: Of the only module that is looked at.
    """
    kept: list[Output] = []
    runs: dict[str, int] = {}

    def hook(path: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor, call = tensor_of(output), runs.get(path, 0)
            runs[path] = call + 1
            if tensor is not None:
                kept.append(Output(Place(path, call), tensor.shape, edge_of(tensor)))

        return keep

    wanted = [(path, m) for path, m in model.named_modules() if path and name in (None, path)]
    handles = [module.register_forward_hook(hook(path)) for path, module in wanted]
    try:
        with frozen(model), torch.enable_grad(), _GradientsStayOn():
            leaf = pixels.detach().clone().requires_grad_()
            return model(leaf, *args), leaf, kept
    finally:
        for handle in handles:
            handle.remove()


def tensor_of(output: Any) -> Tensor | None:
    """What a module passes on: its output, or the first of several."""
    first = output[0] if type(output) in (tuple, list) and output else output
    return first if isinstance(first, Tensor) and first.is_floating_point() else None


class _GradientsStayOn(TorchFunctionMode):
    """A backbone that a model runs under no_grad is in the graph all the same."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled:
            return func(True)
        return func(*args, **(kwargs or {}))
