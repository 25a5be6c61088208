"""The feature map that class activation maps weight: found by trial in any model, or named.

A feature map is what a module returns, of shape (B, C, h, w), (B, h, w, C), (B, N, C) or (N, B, C). Which
module it is follows from the graph of one pass, where its cells lie from what small changes of the image
change in it. Nothing is known of a model's class.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai.attention import refuse_inference
from xai.attr.batching import accurate
from xai.attr.cell_layout import CellLayout, layouts_of
from xai.attr.graph_cuts import edges_on_every_path
from xai.attr.module_outputs import Output, Place, outputs_of
from xai.core import ModelError, UsageError

OTHERS = "Methods that look at pixels alone need none: integrated_gradients, occlusion, rise or lime."
_CERTAIN = 0.2
"""Of half the image's side: how far on its own side of the image the answer to a corner's change must lie."""
_SAME = 0.02
"""Of a tensor's length: what a norm's eps and rounding may change in its output."""


@dataclass(frozen=True)
class FeatureMap:
    """A module's output, and where its cells lie in the image.

    Args:
        place: The module's path in the model, and which of its runs in a forward pass.
        layout: Which axes of the output are rows, columns and channels.
    """

    place: Place
    layout: CellLayout

    @property
    def name(self) -> str:
        """Path of the module in the model."""
        return self.place.name

    @property
    def size(self) -> tuple[int, int]:
        """(h, w), its rows and columns of cells."""
        return self.layout.rows, self.layout.cols

    def cells(self, x: Tensor) -> Float[Tensor, "b cells d"]:
        """The module's output, or its gradient, by cell in row-major order, at least in single precision."""
        return accurate(self.layout.cells(x.detach()))


def module_path(model: nn.Module, name: str) -> str:
    """The full path of a module that a caller names, who may leave out what the model is wrapped in.

    Raises:
        UsageError: There is no such module; near ones are named.
    """
    paths = [path for path, _ in model.named_modules() if path]
    if name in paths:
        return name
    inside = sorted((path for path in paths if path.endswith(f".{name}")), key=lambda path: path.count("."))
    if inside and name:
        return inside[0]
    shown = list(dict.fromkeys(path.removeprefix("module.") for path in paths))
    near = get_close_matches(name, shown, n=5, cutoff=0.4) or shown[:5]
    raise UsageError(
        f"layer={name!r} is no module of {type(model).__name__}.",
        f"Near ones: {', '.join(near)}. All: model.named_modules().",
    )


def find_feature_map(
    model: nn.Module, pixels: Tensor, args: tuple[Any, ...] = (), name: str | None = None
) -> FeatureMap:
    """The last map of features through which the answer depends on the image; a few passes.

    All gradient from the logits to the pixels flows through it, it has two rows and two columns at least, and
    gradient reaches its cells: in a CNN what the last stage passes to pooling, in a Swin the last norm. Where
    several modules return the same tensor, the outermost one names it.

    In a ViT whose class token is read, what enters the last block is that map. Its patches pass a norm first,
    which takes their length from them, so that a patch's features times their gradient are 0: then the
    norm's output is the map, the one before the last attention.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, channels, H, W) of which the passes are made: one image is enough.
        args: Further arguments of the model.
        name: Path of a module to look at instead, as `module_path` gives it; of several runs its last.

    Raises:
        ModelError: There is none, or the named module's output is none.
    """
    refuse_inference(model)
    logits, leaf, outputs = outputs_of(model, pixels, args, name)
    if not isinstance(logits, Tensor):
        raise UsageError(
            f"The model returns {type(logits).__name__}, not a tensor of logits.",
            "Load it with xai.load(...), which unwraps it.",
        )
    trial = _OutputTrial(model, pixels, args)
    if name is not None:
        found = trial.layout_of(outputs[-1]) if outputs else None
        if isinstance(found, CellLayout):
            return FeatureMap(outputs[-1].place, found)
        shapes = ", ".join(dict.fromkeys(str(tuple(one.shape)) for one in outputs))
        what = found or f"it returns {shapes or 'no tensor, or does not run'}"
        raise ModelError(
            f"{name} is no feature map of {type(model).__name__}: {what}.",
            "One is (B, C, h, w), (B, h, w, C) or (B, N, C). Leave layer out, and it is found by trial. "
            + OTHERS,
        )
    tried = ""
    for output in _on_every_path(logits, leaf, outputs):
        found = trial.layout_of(output)
        if isinstance(found, CellLayout):
            norm = trial.norm_behind(output, outputs)
            behind = None if norm is None else trial.layout_of(norm)
            if norm is not None and isinstance(behind, CellLayout):
                return FeatureMap(norm.place, behind)
            return FeatureMap(output.place, found)
        tried = tried or (f" {output.place.name} is none: {found}." if found else "")
    raise ModelError(
        f"{type(model).__name__} has no feature map: no module returns rows and columns of cells through "
        f"which its whole answer depends on the image.{tried}",
        OTHERS,
    )


def _on_every_path(logits: Tensor, leaf: Tensor, outputs: Sequence[Output]) -> list[Output]:
    """Outputs that all gradient flows through, from the logits downwards, each by its outermost module."""
    places = edges_on_every_path(logits, leaf)
    if not places:
        raise ModelError(
            "The logits are cut off from the pixels, so the layer cannot be found by trial.",
            f"Name it: layer=…, a path of model.named_modules(). {OTHERS}",
        )
    outermost: dict[Any, Output] = {}
    for one in sorted(outputs, key=lambda one: one.place.name.count(".")):
        if one.edge in places:
            outermost.setdefault(one.edge, one)
    return sorted(outermost.values(), key=lambda one: places[one.edge])


@dataclass(frozen=True)
class _OutputTrial:
    """What passes of these pixels say of a module's output."""

    model: nn.Module
    pixels: Tensor
    args: tuple[Any, ...]

    def layout_of(self, output: Output) -> CellLayout | str | None:
        """Where an output's cells lie; None where its shape is no map's, or in words why it is none.

        Noise is added in the image's upper right corner and in its lower left: the cells that answer must lie
        there, so that rows and columns, or a token before the cells, cannot be taken for one another.
        """
        layouts = self._layouts(output)
        if not layouts:
            return None
        plain, (gradient,) = self._gradients(output)
        if gradient is None:
            return "no gradient passes from the logits to it"
        layouts = [one for one in layouts if one.reached(gradient)]
        if not layouts:
            return "the gradient of the logits is 0 at its cells, as every map would be"
        rows, cols = max(one.rows for one in layouts), max(one.cols for one in layouts)
        height, width = -(-self.pixels.shape[-2] // rows), -(-self.pixels.shape[-1] // cols)
        changed = []
        for down, right in ((slice(0, height), slice(-width, None)), (slice(-height, None), slice(0, width))):
            with torch.no_grad(), output.place.watched(self.model) as seen:
                self.model(_with_noise(self.pixels, down, right), *self.args)
            changed.append(seen[0])
        certain = {}
        for layout in layouts:
            (down, right), (up, left) = (layout.centre(plain, one) for one in changed)
            certain[layout] = min(right, -down, up, -left)
        best = max(layouts, key=lambda one: certain[one])
        if certain[best] > _CERTAIN:
            return best
        if all(one.axes[-1] == 1 for one in layouts):  # convolutions that see most of the image in each cell
            return next(one for one in layouts if one.plain)
        return "its cells do not follow the places of the image row by row"

    def norm_behind(self, output: Output, outputs: Sequence[Output]) -> Output | None:
        """What a norm makes of an output, through which alone gradient reaches the output's cells."""
        last = max(i for i, one in enumerate(outputs) if one.edge == output.edge)
        norm = next((one for one in outputs[last + 1 :] if self._layouts(one)), None)
        if norm is None:
            return None
        seen = []
        for factor in (1.0, 2.0):  # powers of two are exact in any precision
            with (
                torch.no_grad(),
                output.place.watched(self.model, factor),
                norm.place.watched(self.model) as normed,
            ):
                self.model(self.pixels, *self.args)
            seen.append(accurate(normed[0]))
        if not (seen[1] - seen[0]).norm() <= _SAME * seen[0].norm():
            return None
        _, (past, _) = self._gradients(output, norm)
        left = past is not None and any(one.reached(past) for one in self._layouts(output))
        return None if left else norm

    def _layouts(self, output: Output) -> list[CellLayout]:
        size = (self.pixels.shape[-2], self.pixels.shape[-1])
        return layouts_of(output.shape, len(self.pixels), size)

    def _gradients(
        self, output: Output, second: Output | None = None
    ) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """The output and the logits' gradient at it, None where none passes.

        With a second output, what gradient is left when that is cut off, and the gradient at that.
        """
        cut = nullcontext([]) if second is None else second.place.as_leaf(self.model)
        with output.place.as_leaf(self.model) as leaves, cut as more:
            logits = self.model(self.pixels, *self.args)
        if not logits.requires_grad:
            return leaves[0].detach(), (None,) * (1 + len(more))
        weights = torch.arange(1, logits.shape[-1] + 1, device=logits.device, dtype=logits.dtype)
        y = (logits * weights).sum()  # distinct: two logits that are each other's opposite would cancel
        return leaves[0].detach(), torch.autograd.grad(y, [*leaves, *more], allow_unused=True)


def _with_noise(pixels: Tensor, rows: slice, cols: slice) -> Tensor:
    """The pixels with noise of their own strength added in an area, the same each time."""
    strength = pixels.float().std()
    strength = strength if strength > 0 else torch.ones_like(strength)
    changed = pixels.clone()
    area = changed[..., rows, cols]
    noise = torch.randn(area.shape[1:], generator=torch.Generator().manual_seed(0))
    area += (noise.to(pixels.device) * strength).to(pixels.dtype)
    return changed
