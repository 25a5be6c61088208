"""A model destroyed from its head down, stage by stage, with proof that each stage did what it names.

What is learned is every parameter and every saved floating-point buffer (a zero-shot head keeps the
features of its texts there). Which of it stands before the blocks and which after is found out by running
the model: a value feeds the blocks if turning it into NaN turns the first block's input into NaN.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from xai.core import ModelError, UsageError, derive_seed

_RELATIVE, _LEAST = 0.1, 0.02


@dataclass(frozen=True)
class Stage:
    """Part of a model that is randomised at once.

    Args:
        name: "head", "block 11", …, "block 0", "embeddings".
        tensors: Names of its parameters and buffers.
    """

    name: str
    tensors: tuple[str, ...]


def learned_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved floating-point buffers by name; a shared one once."""
    saved = model.state_dict().keys()
    buffers = {n: b for n, b in model.named_buffers() if n in saved and b.is_floating_point()}
    return {**dict(model.named_parameters()), **buffers}


def find_stages(model: nn.Module, pixels: Tensor, groups: int | None = None) -> tuple[Stage, ...]:
    """Partition what a model has learned: head, blocks from last to first, embeddings.

    The head is all that the blocks do not feed on: the last norm, projections, pooling, the classifier, and
    whatever is not used for images at all. The embeddings are all that the first block feeds on.

    Args:
        model: A classifier, pixels in and logits out.
        pixels: (B, 3, H, W); only the first image is used.
        groups: At most so many stages of blocks, neighbours together; None for a stage per block.

    Raises:
        ModelError: When no sequence of blocks is found.
    """
    if groups is not None and groups < 1:
        raise UsageError(f"groups={groups} must be 1 or more.")
    probed = copy.deepcopy(model)  # hooks and NaN go here
    blocks = _find_blocks(probed, pixels[:1])
    tensors = learned_tensors(probed)
    names = {id(t): n for n, t in tensors.items()}
    left = set(tensors)

    def take(found: Sequence[str]) -> tuple[str, ...]:
        taken = tuple(n for n in found if n in left)
        left.difference_update(taken)
        return taken

    inside = [[names[id(t)] for t in (*b.parameters(), *b.buffers()) if id(t) in names] for b in blocks]
    outside = left.difference(*inside)
    feeding = [n for n in tensors if n in outside and _feeds(probed, tensors[n], blocks[0], pixels[:1])]
    stages = [Stage("head", take([n for n in tensors if n in outside and n not in feeding]))]
    for group in _together(len(blocks), groups):
        name = f"block {group[0]}" if len(group) == 1 else f"blocks {group[0]}–{group[-1]}"
        stages.append(Stage(name, take([n for i in group for n in inside[i]])))
    stages.append(Stage("embeddings", take(feeding)))
    return tuple(stage for stage in stages if stage.tensors)


def named_stages(model: nn.Module, stages: Mapping[str, Sequence[str]]) -> tuple[Stage, ...]:
    """Stages as the caller names them: stage → names of tensors or of modules that hold them.

    Raises:
        UsageError: When a learned tensor is in no stage or in two, or a name stands for none.
    """
    tensors = learned_tensors(model)
    found: list[Stage] = []
    for name, parts in stages.items():
        members: list[str] = []
        for part in parts:
            held = [n for n in tensors if n == part or n.startswith(f"{part}.")]
            if not held:
                raise UsageError(f"Stage {name!r}: the model has no parameter or module {part!r}.")
            members += held
        found.append(Stage(name, tuple(members)))
    check_partition(model, found)
    return tuple(found)


def check_partition(model: nn.Module, stages: Sequence[Stage]) -> None:
    """Every learned tensor is in exactly one stage.

    Raises:
        UsageError: Naming those that are not.
    """
    listed = [n for stage in stages for n in stage.tensors]
    missing = sorted(set(learned_tensors(model)).difference(listed))
    twice = sorted({n for n in listed if listed.count(n) > 1})
    for fault, names in (("in no stage", missing), ("in more than one stage", twice)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UsageError(
                f"Of the model's learned values, {', '.join(names[:3])}{more} are {fault}.",
                "A cascade randomises everything exactly once.",
            )


def cascade(model: nn.Module, stages: Sequence[Stage], seed: int = 0) -> Iterator[tuple[Stage, nn.Module]]:
    """One copy of the model with the first stage randomised, then the first two, and so on.

    The copy is the same object each time and changes when the next stage is asked for; the given model is
    never touched. After each stage the copy is compared with it.

    Raises:
        ModelError: When a stage left something as it was that it names, or changed anything else.
    """
    check_partition(model, stages)
    changed = copy.deepcopy(model)
    tensors, originals = learned_tensors(changed), learned_tensors(model)
    for done, stage in enumerate(stages, 1):
        before = {n: t._version for n, t in tensors.items()}
        for name in stage.tensors:
            _redraw(tensors[name], derive_seed(seed, "randomization", name))
        untouched = {n for later in stages[done:] for n in later.tensors}
        wrong = [n for n in stage.tensors if torch.equal(tensors[n], originals[n])]
        wrong += [n for n in untouched if not torch.equal(tensors[n], originals[n])]
        wrong += [n for n, t in tensors.items() if n not in stage.tensors and t._version != before[n]]
        if wrong:
            raise ModelError(f"Randomising {stage.name!r} did not do what it says to {', '.join(wrong[:3])}.")
        yield stage, changed


@torch.no_grad()
def _redraw(tensor: Tensor, seed: int) -> None:
    """Shuffle a tensor's entries; draw anew around the value of one whose entries are all the same."""
    generator = torch.Generator().manual_seed(seed)
    flat = tensor.flatten()
    if (flat == flat[0]).all():
        spread = max(abs(float(flat[0])) * _RELATIVE, _LEAST)
        noise = torch.randn(flat.shape, generator=generator) * spread
        tensor.copy_((flat.float() + noise.to(flat.device)).reshape(tensor.shape))
        return
    shuffled = flat[torch.randperm(len(flat), generator=generator).to(flat.device)]
    if torch.equal(shuffled, flat):  # two entries come back in their places every other time
        shuffled = flat.roll(1)
    tensor.copy_(shuffled.reshape(tensor.shape))


def _find_blocks(model: nn.Module, pixels: Tensor) -> list[nn.Module]:
    """The longest chain of like modules that run, by parameters, in the order in which they run."""
    chains = [
        list(m.children())
        for m in model.modules()
        if isinstance(m, nn.ModuleList | nn.Sequential) and len({type(c) for c in m.children()}) == 1
    ]
    chains = [c for c in chains if all(next(block.children(), None) is not None for block in c)]
    order: dict[int, int] = {}

    def note(block: nn.Module, _: Any) -> None:
        order.setdefault(id(block), len(order))

    candidates = {id(block): block for chain in chains for block in chain}.values()
    hooks = [block.register_forward_pre_hook(note) for block in candidates]
    try:
        with torch.no_grad():
            model(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    chains = [c for c in chains if all(id(block) in order for block in c)]
    if not chains:
        raise ModelError(
            f"{type(model).__name__} shows no sequence of blocks to randomise one after another.",
            "Pass stages={'head': [...], ..., 'embeddings': [...]} with names of its modules or parameters.",
        )
    longest = max(chains, key=lambda chain: sum(p.numel() for block in chain for p in block.parameters()))
    return sorted(longest, key=lambda block: order[id(block)])


class _Reached(Exception):  # noqa: N818 (no error: it ends a forward pass that has shown enough)
    """The first block was entered."""

    def __init__(self, tainted: bool):
        self.tainted = tainted


@torch.no_grad()
def _feeds(model: nn.Module, tensor: Tensor, block: nn.Module, pixels: Tensor) -> bool:
    """Whether the block's input depends on a tensor of the model."""

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()]
        raise _Reached(any(bool(x.isnan().any()) for x in given))

    original = tensor.detach().clone()
    hook = block.register_forward_pre_hook(look, with_kwargs=True)
    try:
        tensor.fill_(torch.nan)
        model(pixels)
    except _Reached as reached:
        return reached.tainted
    finally:
        hook.remove()
        tensor.copy_(original)
    return False


def _together(blocks: int, groups: int | None) -> list[range]:
    """Block numbers from last to first, in at most `groups` runs of nearly equal length."""
    count = min(groups or blocks, blocks)
    ends = [blocks - 1 - i * blocks // count for i in range(count + 1)]
    return [range(start, stop, -1) for start, stop in pairwise(ends)]
