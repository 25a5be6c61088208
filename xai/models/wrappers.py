"""Names of weights without what wrappers put into them: DataParallel, compile, FSDP, checkpointing."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from xai.core import ModelError

# written by torch and Lightning Fabric alone, so they go wherever they stand
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
# DataParallel's, but also a name that a model may have
_MODULE = "module"
# what averaged models count beside their weights (torch.optim.swa_utils, mmengine)
_COUNTERS = frozenset({"n_averaged", "steps", "num_updates", "decay"})


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the model inside its wrappers, whatever their order.

    `_orig_mod.`, `_fsdp_wrapped_module.`, `_checkpoint_wrapped_module.` and `_forward_module.` go wherever
    they stand. `module.` goes where every name passes through it, of all or of those that begin alike.
    Counters of an averaged model (`n_averaged` …) go with the `module.` beside them.

    Raises:
        ModelError: When some names have `module.` and others have not, or two become one.
    """
    names = {name: tuple(part for part in name.split(".") if part not in _WRAPPERS) for name in state}
    if any(parts[:1] == (_MODULE,) for parts in names.values()):
        counted = [name for name in names if name in _COUNTERS and state[name].ndim == 0]
        names = {name: parts for name, parts in names.items() if name not in counted}
    while names:
        through, around = _parents(names.values())
        if () in through & around:
            first = {parts[0] == _MODULE: name for name, parts in names.items() if parts}
            raise ModelError(
                f"Some weights begin with module. and others do not ({first[True]}, {first[False]}), "
                "so whose they are cannot be seen.",
                "Name the beginnings of those that are no part of the model under ignore_keys: in the YAML.",
            )
        if not (wrapped := through - around):
            break
        names = {name: _without(parts, wrapped) for name, parts in names.items()}
    return _renamed(state, {name: ".".join(parts) for name, parts in names.items()})


def forms(state: Mapping[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    """A state dict, then without the first part that all its names share (Lightning's `model.`), and so on.

    Yields:
        The state dict, and the beginning that its names have lost.
    """
    lost = ""
    plain = dict(state)
    while True:
        yield plain, lost
        firsts = {name.partition(".")[0] for name in plain}
        if len(firsts) != 1 or not all("." in name for name in plain):
            return
        first = firsts.pop()
        lost += f"{first}."
        plain = {name[len(first) + 1 :]: value for name, value in plain.items()}


def same_names(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether two state dicts have the same names but for wrappers, a common beginning and counters."""
    return _bare(one) == _bare(other)


def _bare(state: Mapping[Any, Any]) -> set[str]:
    named = {str(name): value for name, value in state.items() if not isinstance(value, Tensor) or value.ndim}
    try:
        *_, (plain, _) = forms(unwrapped(named))
    except ModelError:
        return set(named)
    return set(plain)


def _parents(names: Any) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Beginnings that go on with `module`, and beginnings that go on with something else."""
    through: set[tuple[str, ...]] = set()
    around: set[tuple[str, ...]] = set()
    for parts in names:
        for at, part in enumerate(parts):
            (through if part == _MODULE else around).add(parts[:at])
    return through, around


def _without(parts: tuple[str, ...], wrapped: set[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(part for at, part in enumerate(parts) if part != _MODULE or parts[:at] not in wrapped)


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, new in names.items():
        if new in plain:
            raise ModelError(
                f"Two weights have one name without what wrappers put into it: {origin[new]} and {name}.",
                "Save the state dict of the model that was trained, without its wrapped copy.",
            )
        plain[new], origin[new] = state[name], name
    return plain
