"""`xai methods`: what can be chosen with --method."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from xai.cli import options as opt
from xai.cli.output import guarded, say_next, show, show_json, show_table

OWN = "xai"  # the package of the methods that come with this program
FIELDS = (
    "name", "family", "class_sensitive", "signed", "deterministic", "forwards", "backwards", "reference"
)  # fmt: skip


@guarded
def methods(
    name: Annotated[
        str | None, typer.Argument(help="Show this one, a method or a preset, with its options.")
    ] = None,
    *,
    options: Annotated[opt.ModelOptions, opt.Without(["batch_size"])],
    as_json: opt.Json = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all of them as a document (docs/methods.md).")
    ] = False,
) -> None:
    """List the attribution methods: what they tell apart, what they cost, where they come from.

    With --model or --config: which of them work on that model, found by trial, and why the others do not.
    """
    from xai.attr import METHODS, PRESETS, full_options, list_methods, resolve_method

    if (options.model or options.config) and not (name or markdown):
        _of_model(options, as_json)
        return

    if markdown:
        from xai.attr.catalogue import to_markdown

        show(to_markdown().rstrip())
        return
    preset = PRESETS.get(name) if name else None
    method, chosen_options = resolve_method(opt.imported(name), {}) if name else ("", {})
    chosen = [METHODS[method].info] if name else list_methods()
    if as_json:
        found = [
            {field: asdict(info)[field] for field in FIELDS} | {"package": _package(info.name)}
            for info in chosen
        ]
        asked = {"preset": preset.name, "options": full_options(method, chosen_options)} if preset else {}
        show_json([one | asked for one in found])
    elif name is None:
        rows = [
            [info.name, info.family, _yes(info.class_sensitive), _yes(info.signed),
             f"{info.forwards}+{info.backwards}", info.reference]
            for info in chosen
        ]  # fmt: skip
        show_table(["method", "family", "per class", "signed", "passes", "reference"], rows)
        others = {info.name: _package(info.name) for info in chosen if _package(info.name) != OWN}
        if others:
            show("")
            show_table(["method", "from the package"], [list(one) for one in others.items()])
        show("")
        show_table(
            ["preset", "method", "options", "what for"],
            [[one.name, one.method, _formatted(one.options), one.purpose] for one in PRESETS.values()],
        )
        say_next("xai methods NAME shows one with its options; passes are forward + backward per image.")
    else:
        (info,) = chosen
        if preset is not None:
            show(f"preset {preset.name}: {f'{preset.purpose} {preset.caution}'.strip()}\n")
        show(f"{info.name}: {info.summary}\n")
        show_table(
            ["property", "value"],
            [[field.replace("_", " "), str(getattr(info, field))] for field in FIELDS[1:]]
            + [["package", _package(info.name)]],
        )
        own = full_options(method, chosen_options)
        if own:
            show("")
            heading = "default" if preset is None else f"preset {preset.name}"
            show_table(["option", heading], [[option, repr(value)] for option, value in own.items()])
        say_next(f"xai explain IMAGE --{'method' if preset is None else 'preset'} {name}")


def _of_model(options: opt.ModelOptions, as_json: bool) -> None:
    from xai.attr import METHODS, find_capabilities
    from xai.explanation import choose_method, noise

    classifier = options.load()
    refusals = find_capabilities(classifier, noise(classifier)).refusals
    default = choose_method(classifier).info.name
    if as_json:
        show_json([
            {
                "name": name,
                "needs": METHODS[name].info.needs,
                "works": error is None,
                "why_not": None if error is None else error.message,
                "default": name == default,
            }
            for name, error in refusals.items()
        ])  # fmt: skip
        return
    working = [METHODS[name].info for name, error in refusals.items() if error is None]
    rows = [[one.name, one.family, f"{one.forwards}+{one.backwards}", one.reference] for one in working]
    show_table(["method", "family", "passes", "reference"], rows)
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, error in refusals.items():
        if error is not None:
            reasons.setdefault((METHODS[name].info.needs, error.message), []).append(name)
    if reasons:
        show("")
        rows = [[", ".join(names), need, why] for (need, why), names in reasons.items()]
        show_table(["does not work", "needs", "why"], rows)
    say_next(f"xai explain IMAGE with the same model options; without --method, {default} explains.")


def _package(method: str) -> str:
    """The package that a method comes from: as it is installed, else as it is imported."""
    from xai.attr import METHODS

    return METHODS.package_of(method) or METHODS[method].__module__.partition(".")[0]


def _formatted(options: Mapping[str, Any]) -> str:
    """Options in a line."""
    return ", ".join(f"{name} {str(value).lower()}" for name, value in options.items())


def _yes(value: bool) -> str:
    return "yes" if value else "no"
