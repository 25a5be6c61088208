"""Attribution methods beside the peers' own implementations: seconds, peak memory, agreement of the maps.

    make peers                                           # this and the other two tables, in .venv-peers
    python benchmarks/peers/attribution.py --missing     # go on after an interruption
    python benchmarks/peers/attribution.py --rows LeGrad
    python benchmarks/peers/attribution.py --device cuda --dtype bfloat16 --batch 8
    python benchmarks/peers/attribution.py --quick       # a tiny model: shows that it works

Both run on the same random weights, images and class: ViT-B/16 at 224 pixels, 197 tokens. A round is one
plain inference forward, ours and the peer's, in an order that alternates; figures are medians of the rounds'
ratios with the 5th and 95th percentile. Memory is the peak above the level before the call, each side's in a
process of its own. Ours returns what the peer returns, in its form and scale.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.peers import maps, program, report

TEXT = """
Written by `python benchmarks/peers/attribution.py`; raw figures beside it in JSON. Ours and the peer run on
the same random weights, images and class: ViT-B/16 shapes, 197 tokens; the unit is one plain inference
forward (fused attention, no gradient) of the same batch. Rounds alternate; medians of the rounds' ratios,
5th–95th percentile in brackets. Seconds are per image, memory is the peak above the level before the call.
Weights are frozen wherever the peer allows it. Ours delivers the peer's form and scale (pixels, 0 … 1), and
is timed with that. Agreement is the worst image's: ρ rank correlation, Δ largest difference by the peer's
largest value. Rollout and Chefer's generic method have no maintained package: scripts of this benchmark, as
the papers' programs go about it.
"""


def write(header: dict, results: list[dict]) -> str:
    body = report.pair_table(results, "forward")
    if not report.means_nothing(header):
        body += ["", "## Targets", "", *report.attribution_targets(results)]
        body += ["", "## Where we lose", "", *report.losses(results)]
    return report.page("Attribution methods beside their peers", TEXT, header, body)


def main() -> None:
    parser = program.options_of(__doc__, budget=60)
    parser.add_argument("--batch", type=int, default=2, help="of rows whose peer takes more than one image")
    options = program.read(parser)
    size = {"side": 64, "depth": 6} if options.quick else {"side": 224, "depth": 12}
    jobs = [
        {**program.common(options), **size, "batch": options.batch, "row": name, **row.settings}
        for name, row in maps.ROWS.items()
    ]
    program.run("attribution", options, lambda _: (maps.ROWS, maps.measure), jobs, write)


if __name__ == "__main__":
    main()
