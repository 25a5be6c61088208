"""`xai forge`: pristine photographs in, forgeries with known masks and a manifest out."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xai.cli.options import Json
from xai.cli.output import (
    MISSING,
    PARTLY,
    guarded,
    interrupted,
    progress,
    say,
    say_next,
    show_json,
    show_table,
)

if TYPE_CHECKING:
    from xai.core import DataError
    from xai.data.forged_set import ForgedSet
    from xai.data.forgeries import Recipe

KINDS = "upsampling,resampling,noise,color,blur,self_blend,splice,copy_move,seam"


@guarded
def forge(
    images: Annotated[
        list[str],
        typer.Argument(help="Pristine photographs: files, folders, quoted globs, or the word shipped."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the results; new, empty, or of the same settings.")
    ],
    kinds: Annotated[
        str,
        typer.Option(
            "--kinds", help=f"Of {KINDS}; and face_swap, for portraits.", show_default="all but face_swap"
        ),
    ] = KINDS,
    count: Annotated[int, typer.Option("--count", min=1, help="How many forgeries.")] = 200,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the crops in pixels.")] = 224,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random choice.")] = 0,
    strength: Annotated[
        float,
        typer.Option("--strength", help="How plain the traces are; above 1 a detector finds them sooner."),
    ] = 1.0,
    pristine: Annotated[
        bool, typer.Option("--pristine/--no-pristine", help="Whether the untouched crops are written too.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Forge photographs inside known masks, for the benchmark.

    Writes images/ and masks/ (PNG), manifest.csv, which `xai benchmark` reads, and forgeries.json with the
    settings. The same command goes on where it was stopped. Photographs and kinds take turns; content is only
    taken from the photographs given, so keep the splits of your data in commands of their own.

    Example: xai forge photos/ --out forged --kinds splice,seam --count 500
    """
    from xai.core.files import check_writable
    from xai.data.forged_set import ForgedSet, gather_photos
    from xai.data.forgeries import check_kinds, plan_forgeries

    chosen = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    check_kinds(count, chosen)
    check_writable(out)
    photos, failures = gather_photos(images, size, out)
    settings = {"count": count, "kinds": chosen, "size": size, "seed": seed, "pristine": pristine}
    settings |= {"strength": strength}
    recipes = plan_forgeries(photos, count, chosen, seed, pristine, size, strength) if photos else []
    forged = ForgedSet(out, photos, recipes, settings)
    before = sum(map(forged.is_done, recipes))
    try:
        with progress(len(recipes) - before, "Forging") as step:
            failures += forged.write(step) if photos else []
    except KeyboardInterrupt:
        say(f"Interrupted. What is in {out}/ is complete, but for the manifest.")
        say_next("run the same command again; it goes on where it stopped.")
        raise typer.Exit(interrupted()) from None
    done = [one for one in recipes if forged.is_done(one)]
    _show(forged, done, before, failures, as_json)
    if not done:
        say_next("check the paths, or try the package's own photographs: xai forge shipped --out DIR")
        raise typer.Exit(MISSING)
    say_next(f"xai benchmark init, and in its file  data: {{manifest: {forged.manifest}}}")
    if failures:
        raise typer.Exit(PARTLY)


def _show(
    forged: "ForgedSet", done: "list[Recipe]", before: int, failures: "list[DataError]", as_json: bool
) -> None:
    from xai.core import valid_text

    images_of = Counter((one.kind, one.label) for one in done)
    if as_json:
        show_json({
            "out": valid_text(str(forged.out)), "manifest": valid_text(str(forged.manifest)),
            "made": len(done) - before, "there_before": before, "photographs": len(forged.photos),
            "kinds": [{"kind": kind, "label": label, "images": n} for (kind, label), n in images_of.items()],
            "failures": [str(error) for error in failures],
        })  # fmt: skip
    elif done:
        show_table(["kind", "label", "images"], [[*which, str(n)] for which, n in images_of.items()])
    for error in failures:
        say(f"Failed: {error}")
    say(
        f"{len(done)} of {len(forged.recipes)} images"
        + (f", {before} there before" if before else "")
        + (f"; photographs that could not be used: {len(failures)}" if failures else "")
        + (f". Results: {forged.out}/" if done else ".")
    )
