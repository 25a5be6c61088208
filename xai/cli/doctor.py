"""`xai doctor`: can this model be explained, and are its maps right?"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from xai.cli import options as opt
from xai.cli.output import MISSING, guarded, say, say_next, show_json, show_table

TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "bfloat16": 0.1, "float16": 0.05}  # relative


@guarded
def doctor(
    model: Annotated[str | None, typer.Argument(help="As --model of xai explain.")] = None,
    *,
    options: Annotated[opt.ModelOptions, opt.Without(["model", "batch_size"])],
    as_json: opt.Json = False,
) -> None:
    """Check a model: the attention seen, its patch grid, where gradient flows, how images are prepared.

    The attention rebuilt from the recording is compared with attention computed in the open, on one image of
    seeded noise. Also said: modules in training mode, compiled, or with activation checkpointing; whether
    answers repeat, and are the same alone and in a batch; attention that cannot be recorded; and which
    methods work. Exit code 0: healthy; 3: a part of its attention cannot be recorded, or nothing explains it.
    """
    from xai.explanation import examine

    if model and model.endswith((".yaml", ".yml")) and options.config is None:
        options = replace(options, config=Path(model))
    else:
        options = replace(options, model=model)
    findings = examine(options.load())
    if as_json:
        show_json(findings)
    else:
        show_table(["property", "value"], list(_rows(findings)))
    worst = max(findings["parity"].values(), default=0.0)
    if worst > TOLERANCE[findings["dtype"]]:
        say(f"The recorded attention is off by {worst:.1e} relative: do not trust this model's maps.")
        say_next("load it in float32; if that does not help, report the model.")
        raise typer.Exit(MISSING)
    if (findings["batch"] or 0.0) > TOLERANCE[findings["dtype"]]:
        say(f"An image's logits change by {findings['batch']:.1e} relative with another image beside it.")
        say_next("explain one image at a time (--batch-size 1), or mend the model.")
        raise typer.Exit(MISSING)
    if findings["parity"]:
        say("Healthy: recorded attention equals attention computed in the open, and gradient reaches it.")
    else:
        say(f"Methods of global attention are refused: {findings['attention_refused']}")
        names = findings["working_methods"]
        say(f"{len(names)} methods work on this model, without a choice {findings['default_method']}.")
    say_next("xai explain IMAGE with the same model options.")
    if findings["attention"]["layers"] and not findings["methods"]["attention"]:
        raise typer.Exit(MISSING)  # a part of its attention cannot be recorded


def _rows(findings: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    for key, value in findings.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _rows(value, f"{name}: ")
        elif value == []:
            yield [name, "none"]
        elif isinstance(value, list):
            several = sorted(set(map(_text, value)), key=list(map(_text, value)).index)
            yield [name, several[0] if len(several) == 1 and len(value) > 3 else " ".join(map(_text, value))]
        else:
            yield [name, _text(value)]


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
