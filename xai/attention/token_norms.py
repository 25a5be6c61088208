"""Lengths of the patch tokens that enter a model's last block, seen in a pass that is made anyway."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from xai.attention.running import is_compiled, is_traced
from xai.core import PatchGrid

Norms = Float[Tensor, "b rows cols"]


@contextmanager
def last_token_norms(model: nn.Module, grid: PatchGrid, images: int) -> Iterator[list[Norms]]:
    """Note ‖h_j‖ of the patch tokens h that enter the last block, in passes inside the `with` block.

    A block is a child of a list of modules of one class, of the outermost ones; the last child of such a list
    counts that was given all tokens of each image. No pass is made, and the answers are the model's own. The
    model is as before afterwards, also after an exception.

    Args:
        model: The module that will be called.
        grid: Of its input.
        images: How many it will be given.

    Returns:
        The last pass's, as the only one; none where no such block was met: in models without one row of
        tokens, and where the code that runs is compiled or a graph.
    """
    found: list[Norms] = []

    def watched(module: nn.Module) -> Any:
        own = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            norms = _norms((*args, *kwargs.values()), grid, images)
            if norms is not None:
                found[:] = [norms]
            return own(*args, **kwargs)

        return forward

    # hooks would switch off the fast path of torch's own encoder layers
    blocks = [] if is_traced(model) or is_compiled(model) else list(_last_blocks(model))
    before = [vars(block).get("forward") for block in blocks]
    try:
        for block in blocks:
            vars(block)["forward"] = watched(block)
        yield found
    finally:
        for block, forward in zip(blocks, before, strict=True):
            del vars(block)["forward"]
            if forward is not None:
                vars(block)["forward"] = forward


def _last_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The last child of every list of modules of one class that lies in no other such list."""
    within: tuple[str, ...] = ()
    for name, module in model.named_modules():
        children = list(module.children())
        if name.startswith(within) or not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        if len(children) > 1 and len({type(child) for child in children}) == 1:
            within = (*within, f"{name}.")
            yield children[-1]


def _norms(given: tuple[Any, ...], grid: PatchGrid, images: int) -> Norms | None:
    for tokens in given:
        if not isinstance(tokens, Tensor) or tokens.dim() != 3:
            continue
        tokens = tokens.transpose(0, 1) if tokens.shape[:2] == (grid.tokens, images) else tokens
        if tokens.shape[:2] == (images, grid.tokens):
            return grid.to_patches(tokens.detach().float().norm(dim=-1))
    return None
