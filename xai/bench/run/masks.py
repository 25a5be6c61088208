"""Masks that say nothing: empty on every image, or full; a warning of the run, its summary and its page."""

from collections.abc import Iterable, Mapping, Sequence

from xai.bench.run.inputs import EMPTY, FULL, ModelInput

GENUINE = ("real", "pristine", "genuine", "authentic", "original", "untouched", "live", "bonafide", "natural")
Counts = dict[str, list[int]]  # label or kind, "" for neither → images with a mask, empty ones, full ones


def count_masks(images: Iterable[ModelInput]) -> Counts:
    """How many images of each label have a mask, an empty one, a full one."""
    counts: Counts = {}
    for one in images:
        if one.extent is not None:
            found = counts.setdefault(one.label or one.kind or "", [0, 0, 0])
            for place, is_so in enumerate((True, one.extent == EMPTY, one.extent == FULL)):
                found[place] += is_so
    return counts


def added(parts: Iterable[Mapping[str, Sequence[int]]]) -> Counts:
    """The counts of several parts of the images together."""
    total: Counts = {}
    for part in parts:
        for label, numbers in part.items():
            before = total.setdefault(label, [0, 0, 0])
            total[label] = [a + b for a, b in zip(before, numbers, strict=True)]
    return total


def mask_warnings(counts: Mapping[str, Sequence[int]]) -> list[str]:
    """A sentence where all masks are empty or full, or all of a label; genuine images may have empty ones."""
    images, empty, full = (sum(one[place] for one in counts.values()) for place in range(3))
    if images and images in (empty, full):
        return [_sentence("", images, images == empty)]
    return [
        _sentence(f" of images labelled {label!r}", some, some == none)
        for label, (some, none, whole) in sorted(counts.items())
        if label and some in (none, whole) and not (some == none and label.casefold() in GENUINE)
    ]


def _sentence(which: str, count: int, empty: bool) -> str:
    mark = "empty where the model looks" if empty else "full"
    return (
        f"All masks{which} are {mark} ({count} of {count}): metrics that read masks say nothing there. "
        "Check how the masks were saved: black is outside."
    )
