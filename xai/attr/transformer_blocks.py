"""The transformer blocks of a model, found by watching it run, and its read-out of tokens without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention import Probe
from xai.attention.intercept import Watcher
from xai.attr.base import PatchAttribution
from xai.core import ModelError


@dataclass(frozen=True)
class TransformerBlocks:
    """The transformer blocks of a model.

    Args:
        modules: In the order of execution, one per attention layer; an attention pooling head is none.
        token_axis: Axis of the tokens in what a block returns: 1, or 0 in a sequence-first model.
    """

    modules: tuple[nn.Module, ...]
    token_axis: int


class BlockAttribution(PatchAttribution):
    """A method that looks at what enters or leaves the model's blocks."""

    def __init__(self, forward_func: nn.Module):
        super().__init__(forward_func)
        self._blocks: dict[tuple[int, ...], TransformerBlocks] = {}

    def _check_needs(self, pixels: Tensor, args: tuple[Any, ...]) -> None:
        self._find_blocks(pixels, args)

    def _find_blocks(self, pixels: Tensor, args: tuple[Any, ...]) -> TransformerBlocks:
        """Found out once per input size, as the probe is, and from the same image."""
        size, probe = tuple(pixels.shape[1:]), self._probe(pixels, args)
        if size not in self._blocks:
            whole_batch = any(isinstance(a, Tensor) and a.dim() and len(a) == len(pixels) for a in args)
            self._blocks[size] = find_blocks(self.model, pixels if whole_batch else pixels[:1], args, probe)
        return self._blocks[size]


def find_blocks(model: nn.Module, pixels: Tensor, args: tuple[Any, ...], probe: Probe) -> TransformerBlocks:
    """The outermost modules that hold one attention layer each, from one forward pass of one image.

    Checked by silencing all blocks but the last: the logits must not change, so all that the classifier
    reads is what the last block returns.

    Raises:
        ModelError: When no such modules exist.
    """
    watcher = Watcher(model, probe.grid.tokens)
    with torch.no_grad(), watcher:
        logits = model(pixels, *args)
    paths = [[running.module for running in path] for path in watcher.paths]
    depth = probe.layers - probe.pooling
    shared = 0
    while all(len(p) > shared + 1 for p in paths[:depth]) and len({p[shared] for p in paths[:depth]}) == 1:
        shared += 1
    modules = tuple(p[shared] for p in paths[:depth])
    if len(set(modules)) == depth > 1:
        with torch.no_grad(), block_outputs(modules) as outputs:
            model(pixels, *args)
        tokens = [tokens_of(output) for output in outputs]
        axes = [
            axis for axis in (1, 0) if tokens[-1].dim() == 3 and tokens[-1].shape[axis] == probe.grid.tokens
        ]
        if axes and all(t.shape == tokens[0].shape for t in tokens):
            with torch.no_grad(), without_blocks(modules, outputs, tokens[-1]):
                silenced = model(pixels, *args)
            if torch.allclose(silenced, logits, rtol=1e-3, atol=1e-5):
                return TransformerBlocks(modules, axes[0])
    raise ModelError(
        f"The {depth} attention layers of {type(model).__name__} do not stand in blocks of their own whose "
        "last one returns all that the classifier reads.",
        "Use a method that looks at attention alone: gradient_weighted_attention or chefer.",
    )


def tokens_of(output: Any) -> Tensor:
    """What a block passes on: its output, or the first of several."""
    return output if isinstance(output, Tensor) else output[0]


def tokens_among(args: Any, kwargs: dict[str, Any], tokens: int) -> Tensor | None:
    """The first three-dimensional input with `tokens` rows, (B, N, D) or (N, B, D)."""
    return next(
        (
            x
            for x in (*args, *kwargs.values())
            if isinstance(x, Tensor) and x.dim() == 3 and tokens in x.shape[:2]
        ),
        None,
    )


@contextmanager
def block_outputs(modules: tuple[nn.Module, ...]) -> Iterator[list[Any]]:
    """Collect what the blocks return inside the `with` block, in the order of execution."""
    outputs: list[Any] = []
    handles = [m.register_forward_hook(lambda _m, _i, output: outputs.append(output)) for m in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without_blocks(modules: tuple[nn.Module, ...], outputs: list[Any], tokens: Tensor) -> Iterator[None]:
    """Inside the `with` block no block computes: the last returns `tokens`, the others nothing but zeros.

    Args:
        modules: The blocks.
        outputs: What they returned for the same pixels, as a pattern.
        tokens: (B, N, D) or (N, B, D), in the graph or not.
    """

    def stand_in(output: Any, passed: Tensor, silent: bool) -> Any:
        # what a block returns besides tokens may be read by the classifier, as class tokens of every layer
        beside = () if isinstance(output, Tensor) else output[1:]
        beside = [torch.zeros_like(x) if silent and isinstance(x, Tensor) else x for x in beside]

        def forward(*_: Any, **__: Any) -> Any:
            torch.set_grad_enabled(
                torch.is_grad_enabled() or passed.requires_grad
            )  # also in a frozen backbone
            return passed if isinstance(output, Tensor) else (passed, *beside)

        return forward

    nothing = torch.zeros_like(tokens)
    before = [vars(module).get("forward") for module in modules]  # some libraries wrap it per module
    with torch.set_grad_enabled(torch.is_grad_enabled()):
        try:
            for module, output in zip(modules, outputs, strict=True):
                last = module is modules[-1]
                vars(module)["forward"] = stand_in(output, tokens if last else nothing, not last)
            yield
        finally:
            for module, forward in zip(modules, before, strict=True):
                del vars(module)["forward"]
                if forward is not None:
                    vars(module)["forward"] = forward
