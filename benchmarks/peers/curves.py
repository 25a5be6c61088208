"""Deletion, insertion and ROAD beside the peers' metrics: seconds and peak memory per image and map.

    make peers
    python benchmarks/peers/curves.py --missing          # go on after an interruption
    python benchmarks/peers/curves.py --models demo --rows Quantus ROAD
    python benchmarks/peers/curves.py --device cuda --dtype bfloat16 --images 32
    python benchmarks/peers/curves.py --quick            # a tiny model: shows that it works

Same model, images, maps, classes and images per forward pass for both. The unit is the forward passes that
the task needs, in plain full batches. Reduced types run by autocast, for both.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.peers import loops, program, report

TEXT = """
Written by `python benchmarks/peers/curves.py`; raw figures beside it in JSON. Curves of the softmax
probability (28 steps), removed pixels set to zero; same model, images, smooth maps without ties, classes
and images per forward pass for both. The unit, *ideal*, is the forward passes that the task needs (every
inner point once, both ends once per image) in plain full batches; for the linear systems of ROAD, the
forward passes of the images that they fill. Seconds are per image and map. Agreement is the largest
difference in probability (ROAD: logits; the linear systems: normalised pixels; torchcam: the mean areas).
On a CPU freed memory is kept while either is timed (`reports/freed_memory.md` says what that does).
"""


def write(header: dict, results: list[dict]) -> str:
    body: list[str] = []
    for at in dict.fromkeys(one["at"] for one in results):
        chosen = [one for one in results if one["at"] == at]
        body += ["", f"## {at}", *report.pair_table(chosen, "ideal")]
        if not report.means_nothing(header):
            body += ["", "Targets:", "", *report.curve_targets(chosen)]
    if not report.means_nothing(header):
        body += ["", "## Where we lose", "", *report.losses(results)]
    return report.page("Perturbation curves beside their peers", TEXT, header, body)


def main() -> None:
    parser = program.options_of(__doc__, budget=60)
    parser.add_argument("--models", nargs="*", default=["demo", "clip"], choices=["demo", "clip"])
    parser.add_argument("--images", type=int, help="default 4 (CLIP on a CPU: 1), on a GPU 32")
    parser.add_argument("--steps", type=int, default=28, help="must divide the 50176 pixels")
    options = program.read(parser)
    gpu = options.device.startswith("cuda")
    size = {"maps": 1, "steps": options.steps, "depth": 12, "percentiles": list(loops.PERCENTILES)}
    if options.quick:
        options.models = ["clip"]
        size |= {"steps": 4, "depth": 2, "percentiles": [80, 90]}
    jobs = []
    for model in options.models:
        images = options.images or (32 if gpu else 1 if options.quick or model == "clip" else 4)
        at = f"{ {'demo': 'demo detector', 'clip': 'CLIP ViT-B/16'}[model] }, images: {images}"
        jobs += [
            {**program.common(options), **size, "model": model, "images": images, "at": at, "row": name}
            for name in loops.ROWS
        ]
    program.run("curves", options, lambda _: (loops.ROWS, loops.measure), jobs, write)


if __name__ == "__main__":
    main()
