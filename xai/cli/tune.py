"""`xai tune`: the knobs of gradient-weighted attention, chosen by measurement."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli.options import Grid, Json, TrustCode
from xai.cli.output import guarded, interval_text, live_line, say, say_next, show, show_json, show_table

if TYPE_CHECKING:
    from xai.bench import Tuning

MOST_LISTED = 8


@guarded
def tune(
    config: Annotated[
        Path, typer.Argument(help="A benchmark's YAML: its model, data and protocols are used.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="YAML to write, for xai explain --method-config.")
    ] = Path("tuned.yaml"),
    metric: Annotated[
        str,
        typer.Option(
            "--metric", help="srg, or where masks are known a metric of localisation: average_precision …"
        ),
    ] = "srg",
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Of the configuration; default its first.")
    ] = None,
    images: Annotated[int | None, typer.Option("--images", min=2, help="Use at most so many.")] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Of the cross-validation.")] = 5,
    trust_code: TrustCode = False,
    grid: Grid = None,
    as_json: Json = False,
) -> None:
    """Search layers, fusions, sign and rows of gradient-weighted attention for the best SRG on your images.

    With --metric average_precision for maps that lie where a region was forged (xai forge makes masks).
    The gain is measured on images that took no part in the choice, and may be none.
    """
    import yaml

    from xai.bench import method_config, read_benchmark
    from xai.bench import tune as search
    from xai.core.files import check_writable, write_bytes

    settings = read_benchmark(config, trust_code=trust_code)
    check_writable(out, is_file=True)
    if grid is not None:
        model = settings.model.model_copy(update={"grid": grid})
        settings = settings.model_copy(update={"model": model})
    with live_line() as tell:
        found = search(
            settings,
            metric=metric,
            protocol=protocol,
            images=images,
            folds=folds,
            trust_code=trust_code,
            progress=lambda done, total: tell(f"{done} of {total} images"),
        )
    content = yaml.safe_dump(dict(method_config(found)), sort_keys=False, allow_unicode=True)
    write_bytes(out, f"# Found by xai tune; used by xai explain --method-config.\n{content}".encode())
    if as_json:
        show_json(found.as_dict())
    else:
        _show(found)
    say(f"Wrote {out}.")
    say_next(f"xai explain IMAGE --method-config {out}")


def _show(found: "Tuning") -> None:
    from xai.stats import phrase_comparison

    rows = [
        [
            str(one.options["layers"]),
            one.options["head_fusion"],
            one.options["layer_fusion"],
            str(one.options["clamp"]).lower(),
            one.options["rows"],
            f"{one.mean:.3f}",
            str(one.folds or ""),
        ]
        for one in found.candidates[:MOST_LISTED]
    ]
    header = ["layers", "head fusion", "layer fusion", "clamp", "rows", found.metric, "folds won"]
    show_table(header, rows)
    gain = found.gain
    sizes = [f"{gain.difference:+.3f}", interval_text(gain.low, gain.high, "+.3f")]
    show(
        f"\nOn images not used for the choice ({found.folds} folds of {found.images} images, "
        f"{found.protocol[0]}): {' '.join(filter(None, sizes))} "
        f"against the default ({gain.means[1]:.3f}).\n{phrase_comparison(gain)}."
    )
    show(f"On the images it was chosen by, the best would seem to gain {found.optimism:+.3f}.")
