"""What a small benchmark run spends its time on, and how long it takes beside an earlier build, by turns.

    python benchmarks/run_profile.py             # the smallest run: three minutes on one core
    python benchmarks/run_profile.py --rounds 0  # its profile alone
    python benchmarks/run_profile.py --every-run # larger runs too, and `precision: auto`: fifteen minutes

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

sys.path.insert(0, str(Path(__file__).parent))
import turns  # noqa: E402

TARGET = 0.9
PASSES, MAPS, METRICS, IMAGES = "model passes", "maps beside passes", "metrics beside passes", "images"
START, RECORDS, STATISTICS, PICTURES, REST = "start-up", "records", "statistics", "summary, pictures", "rest"
PARTS = (PASSES, MAPS, METRICS, IMAGES, START, RECORDS, STATISTICS, PICTURES, REST)
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
    "16 images, 16 methods": (16, MANY),
    "64 images, 6 methods": (64, FEW),
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


def profile(folder: Path, case: str) -> dict[str, float]:
    out = folder / f"profile {case}"
    arguments = [str(Path(__file__).resolve()), "--child", str(written(folder, case)), str(out)]
    turns.run_command(turns.builds()[1], arguments)
    return json.loads((out / "clock.json").read_text())


def run_turns(folder: Path, case: str, rounds: int, **more: object) -> list[tuple[turns.Turn, turns.Turn]]:
    pairs = []
    for _ in range(rounds):
        configs = {"base": written(folder, case)}
        configs["now"] = written(folder, case, **more)
        commands = {
            name: ("-m", "xai", "benchmark", "run", str(config), "--out", f"{config}.{name}")
            for name, config in configs.items()
        }
        pairs += turns.command_turns(commands, 1, warm_up=0)
    return pairs


def main() -> None:
    parser = turns.parser(str(__doc__), 1)
    parser.add_argument(
        "--every-run", action="store_true", help="also more methods and images, and precision: auto"
    )
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in CASES if options.every_run else [*CASES][:1]:
            found = profile(folder, case)
            total = sum(found.values())
            shares = ", ".join(f"{part} {found[part] / total:.1%}" for part in PARTS)
            print(f"{case}: {total:.1f} s: {shares}", flush=True)
            row = [case, f"{total:.1f}", *(f"{100 * found[part] / total:.1f}" for part in PARTS)]
            row.append("yes" if found[PASSES] >= TARGET * total else "no")
            for more in ({}, {"precision": "auto"}):
                taken = not more or options.every_run
                pairs = run_turns(folder, case, options.rounds, **more) if taken else []
                row.append(turns.percentiles(turns.ratios(pairs)) if pairs else "–")
                print(case, more, row[-1], flush=True)
            rows.append(row)
    path = turns.publish("run_profile", "What a small benchmark run spends its time on", TEXT, HEADER, rows)
    print(f"Wrote {path}")


TEXT = [
    "`xai benchmark run` of the shipped detector as a whole, with Python's start and the summary with "
    "its pictures: CPU "
    "seconds of one thread, and of it in percent what each part takes beside the parts inside of it. "
    "*Model passes* are forward and "
    "backward passes from maps, metrics and reading alike; target: 90 % of the run.",
    f"Beside it, times as fast as build {turns.BASE}, whole commands by turns: median, 5th and 95th "
    "percentile, of as many rounds as asked for; –: not measured; "
    "the last column with `precision: auto`, which takes bfloat16 only where the run is long enough to "
    "measure its error "
    "and still gain.",
    "What is not passes does not grow with the run, but for images (decoding and forging, "
    "preprocessing, pictures for the page), "
    "maps and metrics: start-up is Python's, torch's and the model's import; statistics are bootstrap "
    "resamples; pictures are drawn once.",
]
HEADER = ["run", "seconds", *PARTS, "90 % met", "times as fast", "with precision: auto"]

if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*sys.argv[-2:])
    else:
        main()
