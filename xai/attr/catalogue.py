"""The methods as a document, made from what they say of themselves."""

import inspect
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import get_args

from xai.attr.base import MethodInfo
from xai.attr.registry import METHODS, PRESETS, Options, list_methods
from xai.core.catalogue import Family

_INTRODUCTIONS = {
    "attention": "Read from attention and its gradients, recorded while the model runs as it is.",
    "gradient": "Gradients of pixels, summed over patches, of tokens, or of a feature map's cells.",
    "perturbation": "Forward passes alone, what the score does when patches go: by default at most 1000, "
    "but for the metric-driven search, and Score-CAM with a pass for each channel.",
    "control": "They know nothing of the model, or nothing of the class: what every method must beat.",
}


def to_markdown() -> str:
    """All registered methods by family: a table, then each with its equation, source and options."""
    blocks = [
        "# Methods",
        "Generated from the registry by `xai methods --markdown`; do not edit. Every method is a "
        "`captum.attr.Attribution` whose relevance lies on the patch grid. Passes are forward + backward "
        "per image and target at the defaults. A method of layers and heads has their maps too "
        "(`attribute_layers`); relevance of a complete one sums to the change of the score from where it "
        "starts (`has_convergence_delta`).",
        *_blocks(),
    ]
    return "\n\n".join(blocks) + "\n"


def _blocks() -> Iterator[str]:
    yield "## Presets"
    yield "What `xai explain --preset` takes; chosen by what was measured in `reports/clip-forgery`."
    rows = [
        [one.name, one.method, _options(one.options), f"{one.purpose} {one.caution}".strip()]
        for one in PRESETS.values()
    ]
    yield _table(["preset", "method", "options", "what for"], rows)
    infos = list_methods()
    for family in get_args(Family):
        members = [info for info in infos if info.family == family]
        yield f"## {family.capitalize()}"
        yield _INTRODUCTIONS[family]
        header = [
            "method",
            "follows the class",
            "signed",
            "draws at random",
            "layers and heads",
            "complete",
            "passes",
            "reference",
        ]
        yield _table(header, [_row(info) for info in members])
        for info in members:
            yield f"### {info.name}"
            yield info.summary
            yield from _details(info)


def _options(options: Options) -> str:
    return ", ".join(f"`{name}={value!r}`" for name, value in options.items())


def _row(info: MethodInfo) -> list[str]:
    return [
        f"[{info.name}](#{info.name})",
        _yes(info.class_sensitive),
        _yes(info.signed),
        _yes(not info.deterministic),
        _yes(info.layers),
        _yes(info.complete),
        f"{info.forwards} + {info.backwards}",
        info.reference,
    ]


def _details(info: MethodInfo) -> Iterator[str]:
    method = METHODS[info.name]
    text, _, arguments = inspect.cleandoc(method.__doc__ or "").partition("\nArgs:\n")
    # stars and underscores of equations are no emphasis
    yield re.sub(r"(?<!`)\*(?!`)", r"\\*", text.strip())
    described = _descriptions(re.split(r"\n(?=\S)", arguments)[0])  # up to the next section
    rows = [
        [f"`{name}`", f"`{option.default!r}`", described.get(name, "")]
        for name, option in list(inspect.signature(method).parameters.items())[1:]
    ]
    if rows:
        yield _table(["option", "default", ""], rows)


def _descriptions(arguments: str) -> dict[str, str]:
    """Option → its text, from what follows `Args:` in a docstring; other sections may come after it."""
    found: dict[str, str] = {}
    name = ""
    section = takewhile(lambda line: not line.strip() or line.startswith(" "), arguments.splitlines())
    for line in inspect.cleandoc("\n" + "\n".join(section)).splitlines():
        start = re.match(r"(\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.startswith(" "):
            found[name] += " " + line.strip()
        elif line.strip():
            name = ""
    return found


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
