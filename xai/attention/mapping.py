"""Find out where in the image the keys of each attention layer lie, without knowing the model.

From the graph of a trial, in which attention is cut out, coded backward passes (`positions`) say which tokens
of the input of a module around it each key is made of, and which pixels those tokens stand for. They go from
module to module, each only as far as the one before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xai.attention.census import describe_unseen, refuse_scripted_attention
from xai.attention.intercept import UnseenAttentionError
from xai.attention.last_layer import version_of
from xai.attention.positions import Coding, Placement, agreed, grids_of, in_cells
from xai.attention.running import refuse_inference
from xai.attention.trial import Trial
from xai.attention.windows import MappedLayer, MappedProbe
from xai.core import PatchGrid

# by input: version of the model, finding
_KNOWN: WeakKeyDictionary[nn.Module, dict[Any, tuple[int, MappedProbe]]] = WeakKeyDictionary()


def map_attention(model: nn.Module, pixels: Tensor, args: tuple[Any, ...], grid: PatchGrid) -> MappedProbe:
    """Find the attention layers of a model and where their keys lie, by one pass and coded backward passes.

    Found once for a model in this state, a size of input and a grid.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W), for size and type: what runs is noise.
        args: Further arguments of the model.
        grid: The grid of regions, of any model.

    Raises:
        UnseenAttentionError: No attention is met, or a part of what reads the image cannot be placed.
    """
    known = _KNOWN.setdefault(model, {})
    version = version_of(model)
    kind = (pixels.shape[1:], pixels.dtype, grid, *((type(a), getattr(a, "shape", None)) for a in args))
    if kind not in known or known[kind][0] != version:
        known[kind] = version, _find(model, pixels, args, grid)
    return known[kind][1]


def _find(model: nn.Module, pixels: Tensor, args: tuple[Any, ...], grid: PatchGrid) -> MappedProbe:
    refuse_scripted_attention(model)
    refuse_inference(model)
    images = 2 if len(pixels) == 1 and not args else len(pixels)  # two show how the batch is folded
    with torch.inference_mode(False), torch.enable_grad():
        trial = Trial(model, (images, *pixels.shape[1:]), pixels, args)
        return _Mapping(model, trial, grid).result()


@dataclass(frozen=True, eq=False)
class _Known:
    """Tokens in the graph of which it is known where in the image they lie.

    Args:
        source: What a module was given or gave.
        places: Its axes that count tokens.
        of_pixel: (H, W) the token of every pixel, −1 where it is of none.
        grid: Their grid, where they are in rows and columns.
    """

    source: Tensor
    places: tuple[int, ...]
    of_pixel: Tensor
    grid: PatchGrid | None


class _Mapping:
    """From the graph of a trial to the positions of keys."""

    def __init__(self, model: nn.Module, trial: Trial, grid: PatchGrid):
        self.model, self.trial, self.grid = model, trial, grid
        self.images, self.met = trial.images, trial.met
        height, width = trial.pixels.shape[2:]
        every = torch.arange(height * width, device=trial.pixels.device).view(height, width)
        self.pixels = _Known(trial.pixels, (2, 3), every, PatchGrid(height, width))
        self.known = [self.pixels]
        self.failed: list[tuple[Tensor, tuple[int, ...]]] = []

    def result(self) -> MappedProbe:
        reading, unseen = self.trial.reading, self.trial.unseen
        if not self.met:
            raise UnseenAttentionError(
                f"{type(self.model).__name__} has no attention: no softmax over keys weights values in it."
            )
        if unseen or not reading:
            message = describe_unseen(self.model, len(reading), unseen, self.images)
            raise UnseenAttentionError(message, len(reading), len(reading) + len(unseen))
        read_out = self._read_out(reading[-1])
        layers = [layer for call in reading if (layer := self._layer(call, read_out)) is not None]
        placed = {layer.call for layer in layers}
        others = [call for call in reading if call not in placed]
        if len(layers) < len(others) or not all(map(self._over_channels, others)):
            raise UnseenAttentionError(
                f"Of {len(layers)} of the {len(reading)} attention layers of {type(self.model).__name__} it "
                "is known where in the image their keys lie; the others attend over channels, or over tokens "
                "that overlap or are gathered by content.",
                len(layers),
                len(reading),
            )
        regions = PatchGrid(self.grid.rows, self.grid.cols)
        return MappedProbe(
            regions, len(layers), (), False, True, len(self.met), tuple(layers), others=len(others)
        )

    def _read_out(self, last: int) -> set[int]:
        """Query rows that the classifier reads of the last layer.

        The class token's, as `probe` has it, also where patches are read too (DINOv2); else those that
        are the lesser part of the layer, if any.
        """
        leaf = self.met[last].leaf
        weights = torch.arange(1, self.trial.logits.shape[-1] + 1, device=leaf.device).to(self.trial.logits)
        (gradient,) = torch.autograd.grad(
            (self.trial.logits * weights).sum(), leaf, retain_graph=True, materialize_grads=True
        )
        used = (gradient != 0).any(-1).flatten(0, -2).any(0)
        if len(used) == self.grid.tokens and (special := used[: self.grid.prefix]).any():
            return set(special.nonzero()[:, 0].tolist())
        few = 0 < 2 * int(used.sum()) < len(used)
        return set(used.nonzero()[:, 0].tolist()) if few else set()

    def _layer(self, call: int, read_out: set[int]) -> MappedLayer | None:
        met = self.met[call]
        values = met.attending.value.unflatten(0, (self.images, -1))
        queries = met.leaf.unflatten(0, (self.images, -1))
        found = self._exactly(values, met.sources) or self._overlapping(values, met.sources)
        if found is None:
            return None
        windows, slot_of_pixel = found
        if (slot_of_pixel < 0).all():
            return None
        placement = Placement.of_pixels(slot_of_pixel, self.grid)
        fold, keys, rows = values.shape[1], values.shape[-2], queries.shape[-2]
        placed = placement.placed.tolist()
        if windows:  # what is not placed is padding, whose queries lead nowhere
            many = prod(values.shape[axis] for axis in windows)
            read = len(placed) if keys == rows else many * rows
            return MappedLayer(call, placement, fold, windows, None, read)
        special = set(range(keys)) - set(placed)
        if read_out and max(read_out) < rows and read_out <= special:
            chosen: tuple[int, ...] | None = tuple(sorted(read_out))
        else:
            chosen = tuple(placed) if special and keys == rows else None
        return MappedLayer(call, placement, fold, (), chosen, rows if chosen is None else len(chosen))

    def _exactly(self, values: Tensor, sources: list[Tensor]) -> tuple[tuple[int, ...], Tensor] | None:
        """Axes of windows, and (H, W) the key of every pixel, where each place feeds one key."""
        for source in sources:
            coding = Coding(values, source)
            digits: dict[int, list[Tensor]] = {}
            for places in self._layouts(source):
                slot = self._slot_of_place(coding, digits, places)
                if slot is None and source is sources[0]:
                    self._where(source, places)  # the way to those behind a convolution
                if slot is None or coding.mixes_images():
                    continue
                known = self._where(source, places)
                if known is not None:
                    return slot[0], _through(known.of_pixel, slot[1])
        return None

    def _slot_of_place(
        self, coding: Coding, digits: dict[int, list[Tensor]], places: tuple[int, ...]
    ) -> tuple[tuple[int, ...], Tensor] | None:
        """Axes of windows, and (places,) the key that each place feeds, counted through all windows."""
        shape = coding.values.shape
        last = len(shape) - 2
        slots = coding.slots(last, digits, places)
        if slots is None:
            return None
        windows = []
        count = shape[last]
        for axis in reversed(range(1, last)):
            window = coding.slots(axis, digits, places) if shape[axis] > 1 else None
            if window is not None:  # else heads, which all read every place
                slots = torch.where(slots < 0, -1, slots + window * count)
                count *= shape[axis]
                windows.insert(0, axis)
        alike = agreed(slots.flatten(1))
        return None if alike is None else (tuple(windows), alike)

    def _where(self, source: Tensor, places: tuple[int, ...]) -> _Known | None:
        """Where the tokens lie that a module was given: from the last known ones, or the pixels."""
        for known in self.known:
            if known.source is source and known.places == places:
                return known
        if any(other is source and axes == places for other, axes in self.failed):
            return None
        bases = [self.known[-1], self.pixels] if len(self.known) > 1 else [self.pixels]
        found = next((x for base in bases if (x := self._from(base, source, places)) is not None), None)
        if found is None and self.stem is not None:  # overlapping tokens, in another order
            found = self._from(self.stem, source, places)
        if found is None:
            self.failed.append((source, places))
        else:
            self.known.append(found)
        return found

    def _from(self, base: _Known, source: Tensor, places: tuple[int, ...]) -> _Known | None:
        """Where tokens lie that are made of known ones, one by one or, in rows and columns, overlapping."""
        coding = Coding(_tokens(source, places), base.source)
        if not coding.plain.any():
            return None
        exact = coding.slots(1, {}, base.places)
        place = None if exact is None else agreed(exact.flatten(1))
        if place is not None:
            grid = next((g for g in self._grids(source, places) if _is_grid(place, g, base.grid)), None)
            return _Known(source, places, _through(base.of_pixel, place), grid)
        return self._in_rows(base, coding, source, places)

    def _in_rows(
        self, base: _Known, coding: Coding, source: Tensor, places: tuple[int, ...]
    ) -> _Known | None:
        if base.grid is not None:
            for grid in self._grids(source, places):
                if coding.lies_on(grid, base.places, base.grid):
                    height, width = self.pixels.of_pixel.shape
                    return _Known(source, places, in_cells(grid, height, width, source.device), grid)
        return None

    def _grids(self, source: Tensor, places: tuple[int, ...]) -> Iterator[PatchGrid]:
        """How tokens may be in rows and columns."""
        if len(places) == 2:
            yield PatchGrid(source.shape[places[0]], source.shape[places[1]])
        else:
            yield from grids_of(source.shape[places[0]], *self.pixels.of_pixel.shape)

    @cached_property
    def stem(self) -> _Known | None:
        """The last tokens before the first attention that are in rows and columns."""
        for stem in reversed(self.trial.stems):
            for places in self._layouts(stem):
                coding = Coding(_tokens(stem, places), self.trial.pixels)
                found = self._in_rows(self.pixels, coding, stem, places)
                if found is not None:
                    return found
        return None

    def _layouts(self, source: Tensor) -> list[tuple[int, ...]]:
        """Axes of (B, N, C), of (B, h, w, C) or of (B, C, h, w) that may be places."""
        if source.dim() == 3:
            return [(1,)]
        height, width = self.pixels.of_pixel.shape
        every = [(1, 2), (2, 3)]
        return [x for x in every if 0.6 < source.shape[x[0]] * width / (source.shape[x[1]] * height) < 1.6]

    def _overlapping(self, values: Tensor, sources: list[Tensor]) -> tuple[tuple[int, ...], Tensor] | None:
        """Keys made of tokens that overlap: in rows and columns, if that is how they lie."""
        tokens = values.movedim(-2, 1).flatten(2)
        around = (self._where(x, places) for x in sources for places in self._layouts(x))
        known = next((x for x in around if x is not None and x.grid is not None), self.pixels)
        found = self._in_rows(known, Coding(tokens, known.source), tokens, (1,))
        return None if found is None else ((), found.of_pixel)

    def _over_channels(self, call: int) -> bool:
        """Whether keys are channels: then it is the other axis of the values that has positions."""
        met = self.met[call]
        values = met.attending.value.unflatten(0, (self.images, -1)).transpose(-2, -1)
        return any(
            self._slot_of_place(coding, digits, places) is not None
            for source in met.sources
            for coding, digits in [(Coding(values, source), {})]
            for places in self._layouts(source)
        )


def _tokens(source: Tensor, places: tuple[int, ...]) -> Tensor:
    """(B, places, channels)."""
    last = 1 + len(places)
    return source.movedim(places, tuple(range(1, last))).flatten(1, last - 1)


def _through(of_pixel: Tensor, of_place: Tensor) -> Tensor:
    """What every pixel belongs to by way of its place."""
    return torch.where(of_pixel < 0, -1, of_place[of_pixel.clamp_min(0)])


def _is_grid(place: Tensor, grid: PatchGrid, base: PatchGrid | None) -> bool:
    """Whether (base tokens,) → token is how a coarser or equal grid covers the base's."""
    if base is None or len(place) != base.tokens:
        return False
    cells = in_cells(grid, base.rows, base.cols, place.device).flatten()
    return bool((place[base.prefix :] == cells).all())
