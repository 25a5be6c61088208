"""Drop patches for good: what follows the embedding runs on fewer tokens; the answer is that of masking."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.attention.intercept import ImageInterceptor
from xai.attention.masking import mask_patches
from xai.attention.running import as_written
from xai.core import PatchGrid


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


class _FirstCall(ImageInterceptor):
    """Calls back before the first image attention."""

    def __init__(self, tokens: int, seen: Callable[[], None]):
        super().__init__(tokens)
        self.seen = seen

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        self.seen()
        return F.scaled_dot_product_attention(query, key, value, **options)


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
    path: list[tuple[nn.Module, bool]] = []
    found: list[nn.Module] = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        path.append((module, any(_is_tokens(value, grid) for value in (*args, *kwargs.values()))))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        path.pop()

    def seen() -> None:
        found.extend(module for module, given in path if given)

    with ExitStack() as stack:
        for module in model.modules():
            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        with torch.no_grad(), as_written(model), _FirstCall(grid.tokens, seen):
            model(pixels)
    return found[0] if found else None
