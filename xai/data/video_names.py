"""Which videos show the same people, by their names."""

import re
from collections.abc import Iterable, Sequence

_ONE = re.compile(r"\d{3}")
_PAIR = re.compile(r"(\d{3})_(\d{3})")


def groups_of(names: Iterable[str]) -> dict[str, str]:
    """Group of each video named as in FaceForensics++: `000`, or `000_003` for the face of 003 in video 000.

    Videos linked by such pairs are one group, named after all its numbers: people of `000`, `003`, `000_003`
    and `003_000` are the same. Other names are left out.
    """
    names = set(names)
    linked = {name: name for name in names if _ONE.fullmatch(name)}

    def root(one: str) -> str:
        while linked.setdefault(one, one) != one:
            one = linked[one]
        return one

    pairs = {name: found.groups() for name in sorted(names) if (found := _PAIR.fullmatch(name))}
    for target, source in pairs.values():
        first, second = sorted((root(target), root(source)))
        linked[second] = first
    members: dict[str, list[str]] = {}
    for one in sorted(linked):
        members.setdefault(root(one), []).append(one)
    titles = {one: _title(together) for together in members.values() for one in together}
    return {
        name: titles[pairs[name][0] if name in pairs else name]
        for name in names
        if name in linked or name in pairs
    }


def _title(together: Sequence[str]) -> str:
    return "_".join(together) if len(together) <= 4 else f"{together[0]} and {len(together) - 1} more"
