"""One pass of a model on noise with every attention cut out of the graph.

What is left of the graph moves and projects single tokens, so that gradients say where they come from; and
what attention is still found in it was not met.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xai.attention.census import Unseen, attention_of
from xai.attention.eager import Attending, EveryAttention
from xai.attention.intercept import RunningModules
from xai.attention.probe import same_random_state
from xai.attention.running import as_written, frozen, nodes_of

_NEAREST, _RECENT = 2, 8  # tensors that modules around a call were given, and that modules before it made


@dataclass(eq=False)
class Met:
    """One attention of the trial: what it was given, and the leaf that stands for its output."""

    attending: Attending
    sources: list[Tensor]
    leaf: Tensor


class _Cutting(EveryAttention):
    """Cuts every attention out of the graph, and keeps what the modules around it were given."""

    def __init__(self, running: RunningModules, images: int):
        super().__init__()
        self.running, self.images = running, images
        self.met: list[Met] = []
        self.stems: list[Tensor] = []  # what modules were given and gave before the first attention

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled and args == (False,):
            return None  # the graph must be a whole one
        return super().__torch_function__(func, types, args, kwargs)

    def meet(self, attending: Attending) -> Tensor:
        around = self._of_images(
            [x for module in reversed(self.running.now) for x in (*module.args, *module.kwargs.values())]
        )
        # what was last made lies between them and the call: behind a convolution that positions are told by
        made = self._of_images(self.running.tensors[: -_RECENT - 1 : -1])
        sources = self._of_images([*around[:_NEAREST], *made])
        if not self.met:
            self.stems = self._of_images(self.running.tensors)
        leaf = attending.output(attending.value).detach().requires_grad_()
        self.met.append(Met(attending, sources, leaf))
        return leaf.clone()

    def _of_images(self, given: list[Any]) -> list[Tensor]:
        """Tensors of three or four axes, one batch entry by image, each once."""
        found: list[Tensor] = []
        for x in _tensors(given):
            fits = x.requires_grad and x.dim() in (3, 4) and len(x) == self.images
            if fits and not any(x is other for other in found):
                found.append(x)
        return found


def _tensors(given: Any) -> Iterator[Tensor]:
    for value in given:
        if isinstance(value, Tensor) and value.is_floating_point():
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


class Trial:
    """The pass and what it showed.

    Args:
        model: A classifier, pixels in and logits out.
        shape: (B, 3, H, W) of its input.
        like: A tensor of the input's type and device.
        args: Further arguments of the model.

    Attributes:
        pixels: The leaf of the graph.
        logits: In the graph.
        met: Every attention, in the order of execution.
        stems: What modules were given and gave before the first attention.
        reading: Indices of those that the logits depend on and that read the image.
        unseen: Attention in the graph that was not met.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...], like: Tensor, args: tuple[Any, ...]):
        self.images = shape[0]
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(shape, generator=generator).to(like).requires_grad_()
        with (
            frozen(model),
            torch.inference_mode(False),
            torch.enable_grad(),
            as_written(model),
            same_random_state(like.device),
            RunningModules(model) as running,
            _Cutting(running, self.images) as cutting,
        ):
            self.logits = model(self.pixels, *args)
        self.met, self.stems = cutting.met, cutting.stems
        self.unseen: list[Unseen] = []
        self.reading = self._reading()

    def _reading(self) -> list[int]:
        """Calls that the logits depend on and that read the image; other attention in the graph is noted."""
        leaves = {id(met.leaf): i for i, met in enumerate(self.met)}
        below: list[set[int]] = []
        from_pixels: list[bool] = []
        noted: set[Any] = set()

        def walk(tensors: tuple[Tensor, ...]) -> tuple[set[int], bool]:
            calls, image = set(), False
            for tensor in tensors:
                for node in nodes_of(tensor):
                    variable = getattr(node, "variable", None)
                    if variable is not None:
                        image |= variable is self.pixels
                        calls |= {leaves[id(variable)]} if id(variable) in leaves else set()
                    elif node not in noted:
                        noted.add(node)
                        one = attention_of(node, self.images)
                        self.unseen += [] if one is None else [one]
            return calls, image or any(from_pixels[i] for i in calls)

        for met in self.met:
            if met.attending.weights is not None:
                noted |= _own_softmax(met.attending.weights)
            calls, image = walk(met.attending.inputs)
            below.append(calls)
            from_pixels.append(image)
        reached: set[int] = set()
        waiting = walk((self.logits,))[0]
        while waiting:
            reached |= waiting
            waiting = set().union(*(below[i] for i in waiting)) - reached
        return sorted(i for i in reached if from_pixels[i])


def _own_softmax(weights: Tensor) -> set[Any]:
    """The nodes by which a model makes attention weights itself, the nearest ones."""
    found: set[Any] = set()
    waiting, met = [weights.grad_fn], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in met:
            continue
        met.add(node)
        if "Softmax" in node.name():
            found.add(node)
        else:
            waiting.extend(following for following, _ in node.next_functions)
    return found
