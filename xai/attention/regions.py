"""The regions of an image that maps lie on: a vision transformer's patches, else cells of a default grid.

A module says its patch size and its special tokens by the names that model libraries give them; what it says
is tried, since a stem, a stage or a pooling head may have a patch size too. One pass shows over how many
tokens the model attends, which is enough where nothing is said at all.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.crops import Crops
from xai.attention.intercept import AttentionInterceptor
from xai.attention.running import as_written, is_traced, without_graph
from xai.core import ModelError, PatchGrid
from xai.core.explanation import GRID_HINT

CELLS = 14
"""Of the default grid along the shorter side."""
_CELL_SIDE = 4  # least pixels along a cell of the default grid
_PATCH_SIDE = 8  # and along a patch that is believed where no attention says otherwise: a stem's are smaller
_MOST_PREFIX = 8  # tokens before the patches where nothing says how many
_FEWEST = 16  # patches that tokens are taken for where nothing says so: fewer are a late stage's, or latents
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)

# learned tokens that stand before the patches, by the names model libraries give them
_SINGLE = re.compile(r"(^|\.)(cls_token|class_token|class_embedding|dist_token|distillation_token)$")
_REGISTERS = re.compile(r"(^|\.)(register_tokens?|reg_token)$")

_FOUND: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], PatchGrid]] = WeakKeyDictionary()


@dataclass(frozen=True)
class TokenLayout:
    """How an input becomes tokens, as a module says it.

    Args:
        patch_size: (height, width) of a patch in input pixels.
        prefix: Special tokens before the first patch.
    """

    patch_size: tuple[int, int]
    prefix: int

    def grid(self, height: int, width: int) -> PatchGrid:
        """The patch grid of an input of this size in pixels."""
        rows, cols = height // self.patch_size[0], width // self.patch_size[1]
        if rows < 1 or cols < 1:
            raise ModelError(
                f"An input of {height}×{width} pixels is smaller than a patch {self.patch_size}."
            )
        return check_grid(PatchGrid(rows, cols, self.prefix), height, width)


def find_layout(model: nn.Module) -> TokenLayout:
    """Read patch size and prefix tokens from a model's configuration and parameters, without trying them.

    Raises:
        ModelError: When the model does not say its patch size.
    """
    patch = next((size for m in model.modules() if (size := _patch_size(m)) is not None), None)
    if patch is None:
        raise ModelError(
            f"{type(model).__name__} does not say its patch size.",
            f"Say a grid: {GRID_HINT}.",
        )
    return TokenLayout(patch, prefix_tokens(model))


def grid_of(model: nn.Module, pixels: Tensor) -> PatchGrid:
    """The grid of an input (B, 3, H, W): the classifier's own if it is for this size, else as found.

    Raises:
        ModelError: The grid that was given is too fine for this input.
    """
    size: Any = getattr(model, "input_size", None)
    height, width = pixels.shape[-2:]
    standard = (
        getattr(model, "given_grid", None) is not None if size is None else tuple(size) == (height, width)
    )
    if standard and isinstance(grid := getattr(model, "grid", None), PatchGrid):
        return check_grid(grid, height, width)
    return find_grid(model, tuple(pixels.shape[1:]))


def find_grid(model: nn.Module, shape: tuple[int, ...]) -> PatchGrid:
    """The patches where attention over them is seen in one pass, else `default_grid`; remembered by shape.

    Args:
        model: Pixels in. Run once on one made image, in evaluation mode.
        shape: (channels, height, width) of an input.
    """
    known = _FOUND.setdefault(model, {})
    if shape not in known:
        known[shape] = _find_grid(model, shape)
    return known[shape]


def _find_grid(model: nn.Module, shape: tuple[int, ...]) -> PatchGrid:
    height, width = shape[-2:]
    if (crops := crops_of(model, height, width)) is not None:
        return crops.grid
    try:
        stated = find_layout(model).grid(height, width)
    except ModelError:
        stated = None
    if stated is not None and is_traced(model):  # a graph shows no calls
        return stated
    try:
        seen = _token_counts(model, shape)
    except Exception:
        # it takes more than pixels, or is broken: the pass that is asked for will tell
        return stated or default_grid(height, width)
    if stated is not None:
        coarse = stated.rows * _PATCH_SIDE <= height and stated.cols * _PATCH_SIDE <= width
        if stated.tokens in seen.keys or (coarse and not seen.calls):  # a mixer of patches, say
            return stated
    return _fitting(seen, prefix_tokens(model), height, width) or default_grid(height, width)


def default_grid(height: int, width: int) -> PatchGrid:
    """Square cells, 14 along the shorter side or fewer where they would be under 4 pixels wide."""
    cell = max(min(height, width) / CELLS, _CELL_SIDE)
    return PatchGrid(max(1, round(height / cell)), max(1, round(width / cell)))


@dataclass(frozen=True)
class _Seen:
    """Attention calls of one pass, softmaxes that may be attention among them.

    Args:
        keys: Over how many keys of the whole image.
        counts: Of these the ones with as many queries, by that number.
        calls: All calls.
    """

    keys: set[int]
    counts: Counter[int]
    calls: int


class _Counting(AttentionInterceptor):
    """Counts attention calls, and softmaxes that may be attention."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: set[int] = set()
        self.counts: Counter[int] = Counter()
        self.calls = 0

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if query.dim() == 4:
            return super()._attend(query, key, value, **options)
        self.calls += 1  # windows or heads in a further axis
        return F.scaled_dot_product_attention(query, key, value, **options)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        self._count(len(query), query.shape[-2], key.shape[-2])
        return F.scaled_dot_product_attention(query, key, value, **options)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = super().__torch_function__(func, types, args, kwargs)
        if func in _SOFTMAX and output.dim() == 4:
            self._count(*(output.shape[i] for i in (0, -2, -1)))
        return output

    def _count(self, batch: int, queries: int, keys: int) -> None:
        self.calls += 1
        if batch == 1:  # else windows
            self.keys.add(keys)
            if queries == keys:  # else pooled keys, class attention, a pooling head
                self.counts[keys] += 1


def _token_counts(model: nn.Module, shape: tuple[int, ...]) -> _Seen:
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    size = 1
    for side in shape:
        size *= side
    image = torch.linspace(-1, 1, size, device=like.device, dtype=like.dtype).sin().view(1, *shape)
    counting = _Counting()
    with evaluation_mode(model), without_graph(), as_written(model), counting:
        model(image)
    return _Seen(counting.keys, counting.counts, counting.calls)


def _fitting(seen: _Seen, prefix: int, height: int, width: int) -> PatchGrid | None:
    """The grid of the shape of the input whose tokens most attention, at least half of it, is over."""
    for tokens, times in seen.counts.most_common():
        if 2 * times < seen.calls:
            return None
        for before in (prefix, *range(_MOST_PREFIX + 1)):
            patches = tokens - before
            rows = round((max(patches, 0) * height / width) ** 0.5)
            cols = round(rows * width / height)
            if rows and rows * cols == patches and rows * width == cols * height:
                fine = _FEWEST <= patches <= height * width / 4
                return PatchGrid(rows, cols, before) if fine else None
    return None


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode, each in its own mode again afterwards."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


def check_grid(grid: PatchGrid, height: int, width: int) -> PatchGrid:
    """The grid, where its cells are of four pixels at least.

    Raises:
        ModelError: They are smaller: the grid is no patch grid, and every cell would cost a pass.
    """
    if 4 * grid.patches > height * width or grid.rows > height or grid.cols > width:
        raise ModelError(
            f"A grid of {grid.rows}×{grid.cols} = {grid.patches} cells is too fine for {height}×{width} "
            f"pixels: a cell has {height * width / grid.patches:.3g} of them, 4 are the least.",
            f"Say a coarser grid: {GRID_HINT}.",
        )
    return grid


def _patch_size(module: nn.Module) -> tuple[int, int] | None:
    config = getattr(module, "config", None)
    config = getattr(config, "vision_config", config)
    size = getattr(config, "patch_size", None)
    if size is None:  # timm, open_clip and torchvision keep it on the module
        size = getattr(module, "patch_size", None)
    return _pair(size)


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    if isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(s, int) for s in size):
        return size[0], size[1]
    return None


def prefix_tokens(model: nn.Module) -> int:
    """Special tokens before the first patch, by the names that model libraries give their parameters."""
    declared = next(
        (n for m in model.modules() if isinstance(n := getattr(m, "num_prefix_tokens", None), int)), None
    )
    if declared is not None:  # timm
        return declared
    tokens = 0
    for name, parameter in model.named_parameters():
        if _SINGLE.search(name):
            tokens += 1
        elif _REGISTERS.search(name):
            tokens += parameter.shape[-2]
    return tokens


def crops_of(model: nn.Module, height: int, width: int) -> Crops | None:
    """The crops that a model takes of an input, None where it takes it whole.

    Such a model, or the module that it wraps, has a method `crops(height, width)` that says so.
    """
    for one in (model, getattr(model, "module", None)):
        crops = getattr(one, "crops", None)
        if isinstance(one, nn.Module) and callable(crops):
            found = crops(height, width)
            return found if isinstance(found, Crops) else None
    return None


def cut_inputs(model: nn.Module, inputs: Any) -> tuple[Crops, Tensor] | None:
    """The crops that a model takes of inputs (a tensor or a 1-tuple of one), and their pixels; else None."""
    pixels = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
    if not isinstance(pixels, Tensor) or pixels.dim() != 4:
        return None
    crops = crops_of(model, *pixels.shape[-2:])
    return None if crops is None else (crops, crops.cut(pixels))
