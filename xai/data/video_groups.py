"""Which videos show the same people, by their names."""

import re
from collections.abc import Iterable, Sequence

_ONE = re.compile(r"\d{3}")
_PAIR = re.compile(r"(\d{3})_(\d{3})")
_CELEB = re.compile(r"(id\d+)(?:_id\d+)?(_\d{4})")


def groups_of(names: Iterable[str]) -> dict[str, str]:
    """Group of each video named as in FaceForensics++ or Celeb-DF; other names are left out.

    FaceForensics++: `000_003` is the face of 003 in video 000. Videos linked by such pairs are one group,
    named after all its numbers: people of `000`, `003`, `000_003` and `003_000` are the same. Celeb-DF:
    `id0_id1_0002` is the face of person 1 in video 2 of person 0, and in the group of that video, `id0_0002`;
    as every face is in many videos, groups by people would be one.
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
    celeb = {name: "".join(found.groups()) for name in names if (found := _CELEB.fullmatch(name))}
    return celeb | {
        name: titles[pairs[name][0] if name in pairs else name]
        for name in names
        if name in linked or name in pairs
    }


def _title(together: Sequence[str]) -> str:
    return "_".join(together) if len(together) <= 4 else f"{together[0]} and {len(together) - 1} more"
