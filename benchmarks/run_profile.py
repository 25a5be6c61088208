"""What a small benchmark run spends its time on, and how long it takes beside an earlier build, by turns.

    python benchmarks/run_profile.py             # 16 images by turns, 64 once: seven minutes on one core
    python benchmarks/run_profile.py --rounds 0  # profiles alone: two and a half minutes
    python benchmarks/run_profile.py --every-run # all by turns, with `precision: auto`: an hour

The command `xai benchmark run` as a whole, from the start of Python, in CPU seconds of one thread. Each
part's time is without that of parts inside of it; a pass is a call of the model, or of autograd, from outside
of any other.
"""

import time

BEGIN = time.process_time()  # of this process, before anything is imported

import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from functools import wraps  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import turns  # noqa: E402
from measure import spread  # noqa: E402

TARGET = 90.0  # percent
PASSES, MAPS, METRICS, IMAGES = "model passes", "maps beside passes", "metrics beside passes", "images"
START, RECORDS, STATISTICS, PICTURES, REST = "start-up", "records", "statistics", "summary, pictures", "rest"
PARTS = (PASSES, MAPS, METRICS, IMAGES, START, RECORDS, STATISTICS, PICTURES, REST)
GROWING = (PASSES, MAPS, METRICS, IMAGES, RECORDS)  # with the number of images
DEMO = """
name: small
model: demo
data: {forgeries: {photos: shipped, count: COUNT, kinds: [upsampling, noise], seed: 0}}
methods: [METHODS]
controls: {random_seeds: 3, greedy_images: 0}
protocols:
  - {base: vit-token, name: token-6, steps: 6, target: label}
  - {base: vit-mean, name: mean-3, steps: 3, target: label}
metrics: [srg, deletion, insertion, pointing_game, mass_accuracy, rank_accuracy, average_precision]
"""
FEW = (
    "gradient_weighted_attention, attention_rollout, chefer, legrad, integrated_mask_gradient, "
    "input_x_gradient"
)
MANY = (
    f"{FEW}, mask_gradient, grad_eclip, attn_lrp, cp_lrp, translrp, token_grad_cam, "
    "attention_guided_cam, saliency, "
    "transition_attention_maps, token_transformation"
)
CASES = {
    "16 images, 6 methods": (16, FEW),
    "64 images, 6 methods": (64, FEW),
    "16 images, 16 methods": (16, MANY),
}


class Clock:
    """CPU seconds of parts, each without those inside of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.stack = [START]
        self.since = BEGIN

    def switch(self) -> None:
        now = time.process_time()
        self.seconds[self.stack[-1]] += now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.switch()
        self.stack.append(name)
        try:
            yield
        finally:
            self.switch()
            self.stack.pop()

    def timed(self, owner: object, name: str, part: str) -> None:
        function: Callable = getattr(owner, name)

        @wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            if self.stack[-1] == PASSES:
                return function(*args, **kwargs)
            with self.part(part):
                return function(*args, **kwargs)

        setattr(owner, name, call)


def child(config: str, out: str) -> None:
    """The command in this process, with a clock around its parts."""
    clock = Clock()
    import torch

    from xai import attr, models
    from xai.bench.results import markdown, summary
    from xai.bench.run import context, store, work_item
    from xai.cli.main import main as command
    from xai.models.classifier import Classifier
    from xai.report import render

    clock.timed(context, "load", START)
    for owner, name in ((Classifier, "__call__"), (torch.autograd, "grad"), (torch.autograd, "backward")):
        clock.timed(owner, name, PASSES)
    clock.timed(context, "make_maps", MAPS)
    clock.timed(work_item, "evaluate", METRICS)
    clock.timed(work_item, "_map_records", METRICS)
    clock.timed(context, "read_inputs", IMAGES)
    clock.timed(context, "write_snapshots", IMAGES)
    clock.timed(store.Store, "write", RECORDS)
    clock.timed(summary, "summarise", STATISTICS)
    clock.timed(markdown, "write_summary", PICTURES)
    clock.timed(render, "write_pictures", PICTURES)
    import xai.bench

    xai.bench.summarise, xai.bench.write_summary = summary.summarise, markdown.write_summary
    assert attr
    assert models
    clock.switch()
    clock.stack[0] = REST
    sys.argv = ["xai", "benchmark", "run", config, "--out", out]
    try:
        command()
    except SystemExit as end:
        assert not end.code
    clock.switch()
    Path(out, "clock.json").write_text(json.dumps(clock.seconds))


def written(folder: Path, case: str, **more: object) -> Path:
    count, methods = CASES[case]
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    text = DEMO.replace("COUNT", str(count)).replace("METHODS", methods)
    path.write_text(text + "".join(f"{key}: {value}\n" for key, value in more.items()))
    return path


def run_turns(folder: Path, case: str, rounds: int, **more: object) -> list[tuple[turns.Turn, turns.Turn]]:
    """The earlier build and this one, whose figures hold the seconds of each part."""
    pairs = []
    for _ in range(rounds):
        base, now = written(folder, case), written(folder, case, **more)
        before = ["-m", "xai", "benchmark", "run", str(base), "--out", f"{base}.out"]
        pairs.append((turns.run_command(turns.builds()[0], before), profile(now)))
    return pairs


def profile(config: Path) -> turns.Turn:
    out = Path(f"{config}.out")
    turn = turns.run_command(turns.builds()[1], [__file__, "--child", str(config), str(out)])
    turn.figures.update(json.loads((out / "clock.json").read_text()))
    return turn


def shares(turn: turns.Turn) -> dict[str, float]:
    """Of the run, in percent."""
    total = sum(turn.figures[part] for part in PARTS)
    return {part: 100 * turn.figures[part] / total for part in PARTS}


def row(folder: Path, case: str, rounds: int, every: bool) -> list[str]:
    pairs = run_turns(folder, case, rounds)
    profiled = [now for _, now in pairs] or [profile(written(folder, case))]
    of_run = [shares(turn) for turn in profiled]
    spreads = {part: spread([one[part] for one in of_run]) for part in PARTS}
    passes = spreads[PASSES]
    cells = [case, str(len(profiled)), f"{median(turn.cpu for turn in profiled):.1f}"]
    cells.append(turns.percentiles(passes, 1))
    cells += [f"{spreads[part]['median']:.1f}" for part in PARTS[1:]]
    growing = [sum(one[part] for part in GROWING) for one in of_run]
    most = [100 * one[PASSES] / whole for one, whole in zip(of_run, growing, strict=True)]
    cells.append(f"{median(most):.1f}")
    cells.append("yes" if passes["median"] >= TARGET else "no")
    cells.append(turns.percentiles(turns.ratios(pairs)) if pairs else "–")
    auto = run_turns(folder, case, rounds, precision="auto") if every else []
    return [*cells, turns.percentiles(turns.ratios(auto)) if auto else "–"]


def main() -> None:
    parser = turns.parser(str(__doc__), 3)
    parser.add_argument(
        "--every-run", action="store_true", help="by turns also 64 images, 16 methods, and auto"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for place, case in enumerate(CASES if options.every_run else [*CASES][:2]):
            rounds = options.rounds if options.every_run or place == 0 else 0
            rows.append(row(Path(name), case, rounds, options.every_run))
            print(" | ".join(rows[-1]), flush=True)
            path = turns.publish(
                "run_profile", "What a small benchmark run spends its time on", TEXT, HEADER, rows
            )
    print(f"Wrote {path}")


TEXT = [
    "`xai benchmark run` of the shipped detector as a whole, with Python's start and the summary with its "
    "pictures: CPU seconds of one thread, and of it in percent what each part takes beside the parts inside "
    "of it, the median of so many profiles (of model passes with the 5th and 95th percentile). *Model "
    "passes* are forward and backward passes from maps, metrics and reading alike; target: 90 % of the run.",
    f"Beside it, times as fast as build {turns.BASE}, whole commands by turns: median, 5th and 95th "
    "percentile; –: not measured; the last column with `precision: auto`, which takes bfloat16 only where "
    "the run is long enough to measure its error and still gain.",
    "Maps, metrics, images (decoding and forging, preprocessing, pictures for the page) and records grow "
    "with the number of images as passes do: *at most* is the share of passes among those alone, which no "
    "run can exceed, however long. The rest is the same for any number: start-up is the import of Python's, "
    "torch's and the model's modules; statistics are bootstrap resamples and tests; 35 charts are drawn, "
    "each as PNG and SVG. Faster passes make the share harder to reach.",
    "Two fifths of the charts' time are SVG files, whose words matplotlib sets glyph by glyph; a third is "
    "drawing pixels. Left as it is: pyarrow imports pandas, where it is installed, as soon as a list becomes "
    "a column (0.3 s), and matplotlib its three-dimensional axes with every figure.",
]
HEADER = [
    "run",
    "profiles",
    "seconds",
    *PARTS,
    "at most",
    "90 % met",
    "times as fast",
    "with precision: auto",
]

if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*sys.argv[-2:])
    else:
        main()
