"""Methods that read one recorded forward pass, and many of them sharing it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from xai.attention import AttentionCall, MappedProbe, Probe, Rows, row_chunks
from xai.attr.base import PatchAttribution, PatchMaps, Pixels
from xai.attr.layers import without_layers
from xai.core import ModelError, UsageError
from xai.core.target import Target, score

TokenMaps = Float[Tensor, "targets b tokens"]
HeadMaps = list[Float[Tensor, "targets b _ tokens"]]
"""Per layer; layers may have unlike numbers of heads."""


@dataclass(frozen=True, eq=False)
class RecordedPass:
    """What one forward pass and one backward pass per target showed.

    Args:
        probe: How the model attends.
        targets: Number of targets.
        calls: Recorded attention by layer.
        gradients: ∂y/∂O by layer, (targets, B, H, N, e); empty where nobody asked for gradients.
        value_gradients: ∂y/∂V instead, by way of this attention, of layers of a `MappedProbe` whose rows
            nobody reads one by one.
    """

    probe: Probe
    targets: int
    calls: Mapping[int, AttentionCall]
    gradients: Mapping[int, Tensor]
    value_gradients: Mapping[int, Tensor] = field(default_factory=dict)


class RecordedAttribution(PatchAttribution):
    """A method whose map is a function of recorded attention and its output gradients.

    Subclasses implement `_tokens`, and `_heads` if there are maps per layer and head; `every_row` where they
    read of the last layer only what the classifier reads, which is then cheaper.
    """

    needs_gradients: ClassVar[bool] = True
    # whether it has a meaning for windows, pooled keys and stages, layer by layer: `_probe` then maps them
    maps_windows: ClassVar[bool] = False

    @property
    def every_row(self) -> bool:
        """Whether queries of the last layer are read that the classifier does not read; True to be safe.

        False says that keys, values and `probe.rows` will do, and that layer is computed for these alone.
        """
        return True

    def reads_rows(self, probe: MappedProbe, layer: int) -> bool:
        """Whether rows of A are read one by one, rather than the signed sum over all of them."""
        return True

    def layer_indices(self, depth: int) -> list[int]:
        """The layers read, counted from 0, in a model of `depth` attention layers."""
        return list(range(depth))

    def _relevance(self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]) -> PatchMaps:
        return self.read(record_pass([self], pixels, targets, args))

    def read(self, record: RecordedPass) -> PatchMaps:
        """The map (targets, B, rows, cols) from a record that holds at least this method's layers."""
        return record.probe.grid.to_patches(self._tokens(record))

    def _layer_maps(
        self, pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
    ) -> list[Float[Tensor, "targets b _ rows cols"]]:
        record = record_pass([self], pixels, targets, args)
        return [record.probe.grid.to_patches(one) for one in self._heads(record)]

    @abstractmethod
    def _tokens(self, record: RecordedPass) -> TokenMaps:
        """Relevance of every token, (targets, B, tokens)."""

    def _heads(self, record: RecordedPass) -> HeadMaps:
        """Relevance of every token per layer and head; every method whose `info.layers` is True writes it."""
        raise without_layers(self, "_heads")


def record_pass(
    methods: Sequence[RecordedAttribution], pixels: Pixels, targets: Sequence[Target], args: tuple[Any, ...]
) -> RecordedPass:
    """One forward pass, and one backward pass per target if any method needs it, for all the methods.

    They have the same `rules`.
    """
    # one that needs global attention says so; else windows may do
    first = next((method for method in methods if not method.maps_windows), methods[0])
    probe = first._probe(pixels, args)
    layers = sorted({layer for method in methods for layer in method.layer_indices(probe.layers)})
    needs = any(method.needs_gradients for method in methods)
    every_row = any(method.every_row for method in methods)
    if isinstance(probe, MappedProbe):
        return _record_mapped(probe, methods, pixels, targets, args, layers)
    logits, calls = first._record(probe, pixels, args, layers, gradients=needs, every_row=every_row)
    # a method that ignores the class takes no target, but a wrong one is an error all the same
    wanted = [score(logits, t) for t in first._normalised(targets) if needs or t is not None]
    gradients = output_gradients(wanted, calls) if needs else []
    return RecordedPass(
        probe=probe,
        targets=len(targets),
        calls=dict(zip(layers, calls, strict=True)),
        gradients=dict(zip(layers, gradients, strict=bool(gradients))),
    )


def _record_mapped(
    probe: MappedProbe,
    methods: Sequence[RecordedAttribution],
    pixels: Pixels,
    targets: Sequence[Target],
    args: tuple[Any, ...],
    layers: Sequence[int],
) -> RecordedPass:
    model = methods[0].model
    with probe.recording(model, layers) as calls, methods[0]._by_rules():
        logits = model(pixels, *args)
    wanted = [score(logits, t) for t in methods[0]._normalised(targets)]
    by_rows = {i for i in layers if any(method.reads_rows(probe, i) for method in methods)}
    by_rows |= {i for i in layers if calls[i].value.shape[:-2] != calls[i].output.shape[:-2]}
    read = [calls[i].output if i in by_rows else calls[i].value for i in layers]
    found = dict(zip(layers, gradients_of(wanted, read), strict=True))
    return RecordedPass(
        probe=probe,
        targets=len(targets),
        calls=calls,
        gradients={i: found[i] for i in layers if i in by_rows},
        value_gradients={i: found[i] for i in layers if i not in by_rows},
    )


def attribute_many(
    methods: Mapping[str, PatchAttribution],
    inputs: Any,
    targets: Sequence[Target],
    additional_forward_args: Any = None,
) -> dict[str, PatchMaps]:
    """Maps of several methods for the same images; those that read a record share one.

    Each map equals what the method gives alone. One forward pass, and one backward pass per target down to
    the lowest layer that any of them reads, serve all methods of `RecordedAttribution` with the same rules.

    Args:
        methods: Of one model, by any name.
        inputs: (B, 3, H, W), or a 1-tuple of it.
        targets: In any of the forms that `attribute` takes.
        additional_forward_args: Passed to the model after the pixels.

    Returns:
        Name → (targets, B, rows, cols), in the order given.

    Raises:
        UsageError: The methods explain different models.
    """
    if len({id(method.model) for method in methods.values()}) > 1:
        raise UsageError("The methods explain different models.", "Make all of them with one classifier.")
    shared = {
        name: one
        for name, one in methods.items()
        if isinstance(one, RecordedAttribution) and one._in_crops(inputs) is None
    }
    found: dict[str, PatchMaps] = {}
    for rules in {one.rules for one in shared.values()}:
        alike = {name: one for name, one in shared.items() if one.rules == rules}
        first = next(iter(alike.values()))
        with first._attributing(inputs, additional_forward_args) as (pixels, args):
            record = record_pass(list(alike.values()), pixels, targets, args)
            found |= {name: one.read(record).detach().to(pixels.dtype) for name, one in alike.items()}
            del record
    return {
        name: found[name]
        if name in found
        else method.attribute_targets(inputs, targets, additional_forward_args)
        for name, method in methods.items()
    }


def output_gradients(
    scores: Sequence[Tensor], calls: Sequence[AttentionCall]
) -> list[Float[Tensor, "targets *b n e"]]:
    """∂y/∂O of each call for each target: a list over calls of (targets, B, H, N, e).

    Args:
        scores: One tensor per target, the examples' scores in the graph of the calls.
        calls: Recorded with gradients.

    Raises:
        ModelError: When no gradient can pass from the scores to the calls.
    """
    return gradients_of(scores, [call.output for call in calls])


def gradients_of(scores: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """∂y/∂x of each tensor for each target, targets first; see `output_gradients`."""
    gradients: list[tuple[Tensor, ...]] = []
    for left, y in zip(reversed(range(len(scores))), scores, strict=True):
        if not y.requires_grad:
            raise ModelError("The scores are cut off from the attention layers: no gradient can pass.")
        gradients.append(torch.autograd.grad(y.sum(), tensors, retain_graph=left > 0, materialize_grads=True))
    # of one target nothing is copied
    return [
        torch.stack(of_one) if len(of_one) > 1 else of_one[0][None] for of_one in zip(*gradients, strict=True)
    ]


def mean_of_rows(
    call: AttentionCall, rows: Rows, targets: int, relevance: Callable[[list[int]], Tensor]
) -> Float[Tensor, "targets *b tokens"]:
    """Mean over `rows` of what `relevance` gives for some of them, (targets, B, H, R, M); in chunks."""
    total, count = None, 0
    for chunk in row_chunks(call, rows, copies=targets):
        values = relevance(chunk)
        total = values.sum(-2) if total is None else total + values.sum(-2)
        count += len(chunk)
    assert total is not None  # noqa: S101 - a probe has at least one row
    return total / count
