"""Find out where in the image the keys of each attention layer lie, without knowing the model.

A trial on noise, once per model and input size: every attention is cut out of the graph, so that what is left
of it moves and projects single tokens. Coded backward passes (`positions`) then say which tokens of the input
of a module around it each key is made of, and which pixels those tokens stand for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from xai.attention.census import Unseen, attention_of, describe_unseen, refuse_scripted_attention
from xai.attention.eager import Attending, EveryAttention
from xai.attention.intercept import UnseenAttentionError
from xai.attention.last_layer import version_of
from xai.attention.positions import Coding, Placement, agreed, grids_of, in_cells
from xai.attention.running import as_written, nodes_of, refuse_inference, same_random_state
from xai.attention.watch import RunningModules
from xai.attention.windows import MappedLayer, MappedProbe, frozen
from xai.core import PatchGrid


@dataclass(eq=False)
class _Met:
    """One attention of the trial: what it was given, and the leaf that stands for its output."""

    attending: Attending
    sources: list[Tensor]
    leaf: Tensor


class _Trial(EveryAttention):
    """Cuts every attention out of the graph, and keeps what the modules around it were given."""

    def __init__(self, running: RunningModules, images: int):
        super().__init__()
        self.running, self.images = running, images
        self.met: list[_Met] = []
        self.stems: list[Tensor] = []  # what modules were given and gave before the first attention

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch._C._set_grad_enabled and args == (False,):
            return None  # the graph must be a whole one
        return super().__torch_function__(func, types, args, kwargs)

    def meet(self, attending: Attending) -> Tensor:
        around = reversed(self.running.now)
        sources = self._of_images([x for module in around for x in (*module.args, *module.kwargs.values())])
        if not self.met:
            self.stems = self._of_images(self.running.tensors)
        leaf = attending.output(attending.value).detach().requires_grad_()
        self.met.append(_Met(attending, sources, leaf))
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
    noise = torch.randn((images, *pixels.shape[1:]), generator=torch.Generator().manual_seed(0)).to(pixels)
    with frozen(model), as_written(model), same_random_state(pixels.device), RunningModules(model) as running:
        leaf = noise.requires_grad_()
        with _Trial(running, images) as trial:
            logits = model(leaf, *args)
        return _Mapping(model, leaf, grid, trial, logits).result()


class _Mapping:
    """From the graph of a trial to the positions of keys."""

    def __init__(self, model: nn.Module, pixels: Tensor, grid: PatchGrid, trial: _Trial, logits: Tensor):
        self.model, self.pixels, self.grid, self.logits = model, pixels, grid, logits
        self.met, self.stems = trial.met, trial.stems
        self.images = len(pixels)
        self.unseen: list[Unseen] = []
        self.known: list[tuple[Tensor, tuple[int, ...], Tensor | None]] = []  # its place by pixel

    def result(self) -> MappedProbe:
        reading = self._reading_image()
        if not self.met:
            raise UnseenAttentionError(
                f"{type(self.model).__name__} has no attention: no softmax over keys weights values in it."
            )
        if self.unseen or not reading:
            message = describe_unseen(self.model, len(reading), self.unseen, self.images)
            raise UnseenAttentionError(message, len(reading), len(reading) + len(self.unseen))
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

    def _reading_image(self) -> list[int]:
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

    def _read_out(self, last: int) -> set[int]:
        """Query rows that the classifier reads of the last layer, where they are the lesser part of it."""
        leaf = self.met[last].leaf
        weights = torch.arange(1, self.logits.shape[-1] + 1, device=leaf.device).to(self.logits)
        (gradient,) = torch.autograd.grad(
            (self.logits * weights).sum(), leaf, retain_graph=True, materialize_grads=True
        )
        used = (gradient != 0).any(-1).flatten(0, -2).any(0)
        few = 0 < 2 * int(used.sum()) < len(used)
        return set(used.nonzero()[:, 0].tolist()) if few else set()

    def _layer(self, call: int, read_out: set[int]) -> MappedLayer | None:
        met = self.met[call]
        values = met.attending.value.unflatten(0, (self.images, -1))
        queries = met.leaf.unflatten(0, (self.images, -1))
        found = self._exactly(values, met.sources) or self._overlapping(values)
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
                if slot is None or coding.mixes_images():
                    continue
                of_pixel = self._place_of_pixel(source, places)
                if of_pixel is not None:
                    return slot[0], _through(of_pixel, slot[1])
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

    def _place_of_pixel(self, source: Tensor, places: tuple[int, ...]) -> Tensor | None:
        """(H, W) which place of a module's input every pixel belongs to."""
        if source is self.pixels:
            return torch.arange(source[0, 0].numel(), device=source.device).view(source.shape[2:])
        for other, axes, of_pixel in self.known:
            if other is source and axes == places:
                return of_pixel
        coding = Coding(_tokens(source, places), self.pixels)
        exact = coding.slots(1, {}, (2, 3))
        of_pixel = self._in_rows(coding, source, places) if exact is None else agreed(exact)
        if of_pixel is None:
            of_pixel = self._by_stem(source, places)
        self.known.append((source, places, of_pixel))
        return of_pixel

    def _in_rows(self, coding: Coding, source: Tensor, places: tuple[int, ...]) -> Tensor | None:
        """The same where tokens overlap: in rows and columns, if that is how the pixels say they lie."""
        height, width = self.pixels.shape[2:]
        if len(places) == 2:
            grids = [PatchGrid(source.shape[places[0]], source.shape[places[1]])]
        else:
            grids = list(grids_of(source.shape[places[0]], height, width))
        for grid in grids:
            if coding.lies_on(grid, (2, 3)):
                return in_cells(grid, height, width, source.device)
        return None

    def _by_stem(self, source: Tensor, places: tuple[int, ...]) -> Tensor | None:
        """The same where tokens overlap and are in another order: by those before the first attention."""
        if self.stem is None or self.stem[0] is source:
            return None
        stem, of_stem, of_pixel = self.stem
        found = Coding(_tokens(source, places), stem).slots(1, {}, of_stem)
        place = None if found is None else agreed(found.flatten(1))
        return None if place is None else _through(of_pixel, place)

    @cached_property
    def stem(self) -> tuple[Tensor, tuple[int, ...], Tensor] | None:
        """The last tokens before the first attention that are in rows and columns, and their pixels."""
        for stem in reversed(self.stems):
            for places in self._layouts(stem):
                of_pixel = self._in_rows(Coding(_tokens(stem, places), self.pixels), stem, places)
                if of_pixel is not None:
                    return stem, places, of_pixel
        return None

    def _layouts(self, source: Tensor) -> list[tuple[int, ...]]:
        """Axes of (B, N, C), of (B, h, w, C) or of (B, C, h, w) that may be places."""
        if source.dim() == 3:
            return [(1,)]
        height, width = self.pixels.shape[2:]
        every = [(1, 2), (2, 3)]
        return [x for x in every if 0.6 < source.shape[x[0]] * width / (source.shape[x[1]] * height) < 1.6]

    def _overlapping(self, values: Tensor) -> tuple[tuple[int, ...], Tensor] | None:
        """Keys made of tokens that overlap: in rows and columns, if that is how they lie."""
        height, width = self.pixels.shape[2:]
        coding = Coding(values.movedim(-2, 1).flatten(2), self.pixels)
        for grid in grids_of(values.shape[-2], height, width):
            if coding.lies_on(grid, (2, 3)) and not coding.mixes_images():
                return (), in_cells(grid, height, width, values.device)
        return None

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
