"""Attention over windows, pooled keys and stages of unlike resolution: recorded, and brought to the image.

Global attention has one row and one column for every token, and the grid says where they lie. A hierarchical
model has none of that: windows are partitioned, shifted, padded and folded into the batch, keys are pooled,
and every stage has tokens of its own. `mapping` finds out, once, where each layer's keys lie.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor, nn

from xai.attention.eager import Attending, EveryAttention
from xai.attention.intercept import ALTERNATIVES
from xai.attention.positions import Placement
from xai.attention.probe import Probe
from xai.attention.record import AttentionCall
from xai.attention.running import as_written, frozen, refuse_inference, refuse_recomputation
from xai.core import ModelError


@dataclass(frozen=True, eq=False)
class MappedLayer:
    """One attention layer whose keys lie somewhere in the image.

    Args:
        call: Its index among all attention of a pass.
        placement: Where its keys lie, counted through all windows of an image.
        fold: Batch entries of a call by image.
        windows: Axes of its values, taken apart as (images, fold, …, keys, channels), that are windows; the
            others before the keys are heads.
        rows: Query rows of the read-out tokens, or of all patches where other tokens stand among them; None
            for all.
        queries: Number of rows that a mean is over: of all windows of an image, without those of padding.
    """

    call: int
    placement: Placement
    fold: int
    windows: tuple[int, ...]
    rows: tuple[int, ...] | None
    queries: int

    def to_regions(self, of_keys: Tensor) -> Tensor:
        """(targets, batch, …, keys) of a call → (targets, images, heads, regions)."""
        apart = of_keys.unflatten(1, (-1, self.fold))
        windows = [axis + 1 for axis in self.windows]
        heads = [axis for axis in range(2, apart.dim() - 1) if axis not in windows]
        ordered = apart.permute(0, 1, *heads, *windows, apart.dim() - 1)
        keys = prod(ordered.shape[2 + len(heads) :])
        return self.placement.place(ordered.reshape(*apart.shape[:2], -1, keys))


@dataclass(frozen=True, eq=False)
class MappedProbe(Probe):
    """How a model attends to an input of a given size, layer by layer, where attention need not be global.

    Args:
        grid: The grid of regions that relevance is brought to.
        layers: Number of layers whose keys have positions.
        calls: Attention of any kind that one pass makes.
        of_layers: The layers whose keys have positions, in the order of execution.
        others: Number of layers that read the image and whose keys have none: attention over channels.
    """

    of_layers: tuple[MappedLayer, ...] = ()
    others: int = 0

    @contextmanager
    def recording(self, model: nn.Module, layers: Collection[int]) -> Iterator[dict[int, AttentionCall]]:
        """Record one forward pass, run inside the block, of layers counted among `of_layers`.

        As in `record_attention`: parameters are frozen meanwhile, compiled parts run eagerly, and the lowest
        layer is where the graph begins. The values of a call are in the graph too.

        Raises:
            ModelError: After the block, when the pass did not attend as it did in the trial.
        """
        refuse_inference(model)
        recorder = _ChosenCalls({self.of_layers[i].call: i for i in layers})
        with frozen(model), torch.inference_mode(False), torch.enable_grad(), as_written(model), recorder:
            yield recorder.calls
        if recorder.met != self.calls:
            raise ModelError(
                f"{type(model).__name__} attended {recorder.met} times in this pass, but {self.calls} "
                "times when it was looked at first: it does not run the same way each time.",
                ALTERNATIVES,
            )


class _ChosenCalls(EveryAttention):
    def __init__(self, chosen: dict[int, int]):
        super().__init__()
        self.chosen, self.met = chosen, 0
        self.calls: dict[int, AttentionCall] = {}

    def meet(self, attending: Attending) -> Tensor:
        refuse_recomputation()
        layer = self.chosen.get(self.met)
        self.met += 1
        if layer is None:
            return attending.output(attending.value)
        # the model may run its backbone under no_grad: what follows must be in the graph all the same
        torch.set_grad_enabled(True)
        value = attending.value
        # an alias: its gradient is what comes by way of this attention alone
        value = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
        output = attending.output(value)
        self.calls[layer] = replace(attending.record(output), value=value)
        return output
