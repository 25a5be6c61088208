"""Mask attention while the model runs: hide patches, drop them for good, scale a layer."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ALTERNATIVES, ImageInterceptor, Watcher
from xai.attention.probe import Probe
from xai.attention.record import advice
from xai.attention.running import as_written
from xai.core import ModelError, PatchGrid

_ALIGNED = 16  # entries to which a row of the mask is padded in memory: fused kernels copy it otherwise


class _Masker(ImageInterceptor):
    def __init__(self, presence: Tensor, grid: PatchGrid, images: int | None):
        super().__init__(grid.tokens, images, differentiates=presence.requires_grad)
        self.presence = presence
        self.grid = grid
        self.hidden: dict[tuple[torch.dtype, int], Tensor] = {}

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if len(self.presence) not in (1, len(query)):
            raise ModelError(
                f"The presence of patches is given for {len(self.presence)} images; "
                f"attention runs on {len(query)}."
            )
        if self.presence.requires_grad:
            torch.set_grad_enabled(True)  # also inside a model that runs its backbone under no_grad
        mask = self._log_presence(query.dtype, layer)
        given = options.get("attn_mask")
        if options.get("is_causal"):
            ones = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
            given = ones.tril() if given is None else given
        if given is not None:
            if given.dtype == torch.bool:
                given = torch.zeros_like(given, dtype=query.dtype).masked_fill_(~given, -torch.inf)
            mask = mask + given.to(query.dtype)
        options |= {"attn_mask": mask, "is_causal": False}
        return F.scaled_dot_product_attention(query, key, value, **options)

    def _log_presence(self, dtype: torch.dtype, layer: int) -> Tensor:
        """(B, 1, 1, tokens) to be added to the scores of this call; made once where all layers share it."""
        layer = min(layer, self.presence.shape[1] - 1)
        if (dtype, layer) not in self.hidden:
            presence, grid = self.presence[:, layer], self.grid
            width = -(-grid.tokens // _ALIGNED) * _ALIGNED
            if presence.dtype == torch.bool:
                row = torch.zeros(len(presence), width, dtype=dtype, device=presence.device)
                row[:, grid.prefix : grid.tokens].masked_fill_(~presence, -torch.inf)
            else:
                row = F.pad(presence.log().to(dtype), (grid.prefix, width - grid.tokens))
            self.hidden[dtype, layer] = row[:, None, None, : grid.tokens]
        return self.hidden[dtype, layer]


@contextmanager
def mask_patches(
    model: nn.Module,
    presence: Tensor,
    grid: PatchGrid,
    *,
    images: int | None = None,
    calls: int | None = None,
) -> Iterator[None]:
    """Add log(presence) of every patch to the attention scores of its key, in all image attention.

    A patch of presence 1 is as it was, one of presence 0 is not seen by any query: the model runs as if
    the token had been dropped after the embedding. Prefix tokens are always seen. Inside the block of
    `record_attention` the recorded calls hold the total mask. The model is not touched.

    Args:
        model: The module that will be called.
        presence: (B, patches), or (B, layers, patches) for each layer in the order of execution, the last
            one also for calls that follow; B = 1 for all images. Bool, or float in [0, 1], which may require
            grad; the gradient at a presence of exactly 0 is NaN.
        grid: The patch grid; attention over another number of keys than `grid.tokens` is passed through.
        images: Images that will be given; attention over another batch is passed through. None: any.
        calls: Image attention calls that a pass makes, `Probe.calls`; None asks for one at least.

    Raises:
        ModelError: When the shapes do not fit, or after the block when no image attention was seen, less
            of it than there are layers in `presence`, or another number of calls than `calls`.
    """
    if presence.dim() not in (2, 3) or presence.shape[-1] != grid.patches:
        raise ModelError(
            f"Presence must be (images, {grid.patches}) for {grid.rows}×{grid.cols} patches, "
            f"or (images, layers, {grid.patches}); got {tuple(presence.shape)}."
        )
    if presence.dtype != torch.bool and not presence.is_floating_point():
        raise ModelError(f"Presence must be bool or floating point; got {presence.dtype}.")
    masker = _Masker(presence if presence.dim() == 3 else presence[:, None], grid, images)
    # the masker may switch gradients on in the middle
    with torch.set_grad_enabled(torch.is_grad_enabled()), as_written(model), masker:
        yield
    if not masker.layers:
        raise ModelError(
            f"{type(model).__name__} ran no attention over {grid.tokens} tokens: no patch was masked.",
            advice(model) or ALTERNATIVES,
        )
    if masker.layers < masker.presence.shape[1]:
        raise ModelError(
            f"Presence is given for {presence.shape[1]} layers; {type(model).__name__} ran {masker.layers}."
        )
    masker.check_layers(model, calls)


def check_maskable(probe: Probe) -> None:
    """Refuse models in which a masked patch would still be read, or nothing would remain.

    Raises:
        ModelError: Naming what to use instead.
    """
    if probe.reads_patches:
        what = "reads patch tokens directly, so masked patches would still be read"
    elif not probe.grid.prefix:
        what = "has no token besides the patches, so nothing would remain with all of them masked"
    else:
        return
    raise ModelError(
        f"Patches cannot be removed by masking: the classifier {what}.",
        "Use a protocol that replaces pixels, such as vit-mean.",
    )


@contextmanager
def drop_patches(model: nn.Module, entry: nn.Module, present: Tensor, grid: PatchGrid) -> Iterator[None]:
    """Hand only the present patches to a module of the model, prefix tokens before them.

    States of unequal numbers of patches are filled up to the largest; what fills is masked. Other threads
    that run the model at the same time are not concerned.

    Args:
        model: The module that will be called.
        entry: From `entry_of`.
        present: (B, patches) bool.
        grid: The patch grid of the model.
    """
    counts = present.sum(dim=1)
    most, least = (int(count) for count in torch.stack([counts.max(), counts.min()]).tolist())
    most = max(most, 1)  # a head that gives patches no weight still takes their mean: of none it is NaN
    # a stable sort: the present ones first, each in its order
    patches = present.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most] + grid.prefix
    prefix = torch.arange(grid.prefix, device=present.device).expand(len(present), -1)
    tokens = torch.cat([prefix, patches], dim=1)[..., None]
    thread = get_ident()

    def gather(value: Any) -> Any:
        if not _is_tokens(value, grid):
            return value
        return value.gather(1, tokens.expand(-1, -1, value.shape[-1]))

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if get_ident() != thread:
            return None
        return tuple(map(gather, args)), {name: gather(value) for name, value in kwargs.items()}

    with ExitStack() as stack:
        stack.enter_context(as_written(model))  # compiled code need not call the hook
        stack.callback(entry.register_forward_pre_hook(hook, with_kwargs=True).remove)
        if least < most:
            filled = torch.arange(most, device=present.device) < counts[:, None]
            stack.enter_context(mask_patches(model, filled, PatchGrid(1, most, grid.prefix)))
        yield


def _is_tokens(value: Any, grid: PatchGrid) -> bool:
    """Whether a module is given (B, tokens, width) here."""
    return isinstance(value, Tensor) and value.dim() == 3 and value.shape[1] == grid.tokens


def entry_of(model: nn.Module, pixels: Tensor, grid: PatchGrid) -> nn.Module | None:
    """The module at which patches may be dropped, None where masking alone is right.

    It is the outermost module on the way to the first image attention that is given all tokens. Whether
    dropping them there gives the answer of masking is tried on the first image: positions that enter the
    layers further up (rotary, relative) do not follow the tokens, and such models are found out.

    Args:
        model: A classifier that reads no patch row, see `check_maskable`.
        pixels: (B, 3, H, W); the first is used.
        grid: The patch grid of the model.
    """
    entry = _find(model, pixels[:1], grid)
    if entry is None:
        return None
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(2, grid.patches, generator=generator).argsort(dim=1)
    limits = torch.tensor([[grid.patches // 2], [grid.patches // 4]])
    present = (order < limits).to(pixels.device)
    both = pixels[:1].expand(2, -1, -1, -1)
    with torch.no_grad():
        whole = model(both)
        with mask_patches(model, present, grid):
            masked = model(both)
        try:
            with drop_patches(model, entry, present, grid):
                dropped = model(both)
        except (RuntimeError, ValueError, TypeError, IndexError):  # shapes that do not follow the tokens
            return None
    if dropped.shape != masked.shape:
        return None
    effect, error = ((masked - other).abs().max().item() for other in (whole, dropped))
    exact = torch.finfo(masked.dtype).bits >= 32
    return entry if error <= effect * (1e-3 if exact else 0.05) else None


def _find(model: nn.Module, pixels: Tensor, grid: PatchGrid) -> nn.Module | None:
    watcher = Watcher(model, grid.tokens)
    with torch.no_grad(), as_written(model), watcher:
        model(pixels)
    for running in watcher.paths[0] if watcher.paths else ():
        if any(_is_tokens(value, grid) for value in (*running.args, *running.kwargs.values())):
            return running.module
    return None


class _Scaler(ImageInterceptor):
    def __init__(self, factors: Mapping[int, Tensor], tokens: int, images: int | None):
        super().__init__(tokens, images)
        self.factors = factors

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        output = F.scaled_dot_product_attention(query, key, value, **options)
        factor = self.factors.get(layer)
        if factor is None:
            return output
        if len(factor) not in (1, len(output)):
            raise ModelError(f"Factors are given for {len(factor)} images; attention runs on {len(output)}.")
        return output * factor.to(output.dtype)[:, None, None, None]


@contextmanager
def scale_attention(
    model: nn.Module,
    factors: Mapping[int, Tensor],
    tokens: int,
    *,
    images: int | None = None,
    calls: int | None = None,
) -> Iterator[None]:
    """Multiply the attention matrices of some layers, after their softmax, by one factor per image.

    As `α A · V = α · (A · V)`, it is the output that is multiplied. Opened around `record_attention`, the
    recorded outputs are the scaled ones; query, key and value of the lowest scaled layer are as ever.

    Args:
        model: The module that will be called.
        factors: Layer index, counted from 0 → (B,), or (1,) for all images.
        tokens: Number of image tokens; attention over another number of keys is no layer.
        images: Images that will be given; attention over another batch is no layer. None: any.
        calls: Image attention calls that a pass makes, `Probe.calls`; None takes any number.

    Raises:
        ModelError: When the number of images does not fit, or after the block when a layer did not run, or
            another number of calls than `calls` was made.
    """
    scaler = _Scaler(factors, tokens, images)
    with as_written(model), scaler:
        yield
    missing = sorted(set(factors) - set(range(scaler.layers)))
    if missing:
        raise ModelError(
            f"Attention of the layers {missing} (counted from 0) was to be scaled, but "
            f"{type(model).__name__} ran {scaler.layers} over {tokens} tokens."
        )
    scaler.check_layers(model, calls)
