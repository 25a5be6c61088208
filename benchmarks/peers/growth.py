"""How seconds and peak memory grow: with tokens, images, layers, methods and steps, beside the peers.

    make peers
    python benchmarks/peers/growth.py --missing          # go on after an interruption
    python benchmarks/peers/growth.py --series tokens
    python benchmarks/peers/growth.py --quick            # two values of each: shows that it works

Rows of the other two tables, with one number changed; the peers are those that do the same work fastest.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.peers import loops, maps, program, report

TEXT = """
Written by `python benchmarks/peers/growth.py`; raw figures beside it in JSON. Rows of the other two tables
with one number changed, with their units: one plain forward pass of the same images, or the forward passes
that the curves need. Ratios are medians of rounds by turns, 5th to 95th percentile in brackets. Seconds are
of the whole call, memory is the peak above the level before it; *grown* is by the first value. Rows were
measured one after the other: where the speed of the machine changes, only the ratios can be compared.
Attribution: ViT-B/16 shapes, random weights. Curves: the demo detector; freed memory is kept while they are
timed, for both (`reports/freed_memory.md` says what that does).
"""
LAST4 = "gradient-weighted attention, last 4 layers | script, eager attention, gradient of the maps"
ALL = "gradient-weighted attention, all layers | script, eager attention, gradient of the maps"
LEGRAD = "LeGrad, all layers | LeGrad"
CHEFER = "Chefer generic | script, eager attention, gradient of the maps"
ROLLOUT = "rollout | script, eager attention"
GRAD_CAM = "token Grad-CAM | grad-cam, frozen"
QUANTUS = "deletion | Quantus PixelFlipping"
TORCHCAM = "deletion + insertion | torchcam DeletionInsertionMetric"


@dataclass(frozen=True)
class Series:
    """One number of the job that changes.

    Args:
        name: Heading.
        key: Of the job.
        rows: Names.
        values: Of the number; what is shown for it, if not itself.
        fixed: What else differs from the job.
    """

    name: str
    key: str
    rows: tuple[str, ...]
    values: dict[int, str]
    fixed: dict = field(default_factory=dict)


def plain(*values: int) -> dict[int, str]:
    return {value: str(value) for value in values}


TOKENS = {side: str((side // 16) ** 2 + 1) for side in (224, 512, 1024)}
SERIES = (
    Series("Tokens", "side", (LAST4, ALL, LEGRAD, CHEFER, ROLLOUT), TOKENS),
    Series("Images of a batch", "batch", (LAST4, GRAD_CAM), plain(1, 2, 4, 8, 16)),
    Series("Layers", "depth", (ALL, LEGRAD, CHEFER, ROLLOUT), plain(6, 12, 24)),
    Series("Maps of an image (methods)", "maps", (TORCHCAM,), plain(1, 2, 4, 8)),
    Series("Images, curves", "images", (TORCHCAM, QUANTUS), plain(1, 2, 4, 8)),
    Series("Steps of a curve", "steps", (TORCHCAM, QUANTUS), plain(7, 14, 28, 56), {"images": 2}),
)
QUICK = {"side": {64: "17", 128: "65"}, "depth": plain(4, 6), "steps": plain(4, 7)}


def write(header: dict, results: list[dict]) -> str:
    return report.page("Growth", TEXT, header, report.growth_tables(results))


def job_of(options: dict, series: Series, row: str, value: int, at: str) -> dict:
    """One measurement; the largest images are so slow that memory is taken in the first call."""
    fixed = {"side": 64 if options["quick"] else 224, "depth": 4 if options["quick"] else 12, "batch": 1}
    curves = {"model": "demo", "images": 1, "maps": 1, "steps": 4 if options["quick"] else 28}
    job = {**options, **fixed, **curves, **series.fixed, "row": row, "series": series.name, "at": at}
    job[series.key] = value
    return {**job, "slow": job["side"] >= 1024}


def main() -> None:
    parser = program.options_of(__doc__, budget=20)
    names = [series.name.split()[0].lower() for series in SERIES]
    parser.add_argument("--series", nargs="*", help=f"headings that begin with one of {', '.join(names)}")
    options = program.read(parser)
    common = program.common(options)
    jobs = []
    for series in SERIES:
        values = series.values
        if options.quick:
            values = QUICK.get(series.key, dict(list(values.items())[:2]))
        jobs += [
            job_of(common, series, row, value, at) for row in series.rows for value, at in values.items()
        ]
    chosen = None
    if options.series is not None:
        begun = tuple(text.lower() for text in options.series)
        chosen = {series.name for series in SERIES if series.name.lower().startswith(begun)}
        if not chosen:
            raise SystemExit(f"--series {' '.join(options.series)}: known are {', '.join(names)}.")

    def rows(job: dict) -> tuple:
        table = maps if job["row"] in maps.ROWS else loops
        return table.ROWS, table.measure

    program.run("growth", options, rows, jobs, write, chosen)


if __name__ == "__main__":
    main()
