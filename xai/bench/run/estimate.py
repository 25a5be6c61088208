"""What a run will cost, before it is started."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from xai.attention import evaluation_mode
from xai.bench.config.reading import read_benchmark
from xai.bench.config.schema import BenchmarkConfig
from xai.bench.run.context import RunContext
from xai.bench.run.engines import LocalEngine
from xai.bench.run.inputs import InputImage
from xai.bench.run.maps import make_maps
from xai.bench.run.plan import Plan, make_plan, metrics_of
from xai.bench.run.precision import decide_precision, first_image
from xai.metrics import evaluate, greedy_forwards
from xai.models import Classifier


@dataclass(frozen=True)
class Estimate:
    """A plan with the cost measured on one batch; checks are counted but not timed.

    Args:
        plan: The work items.
        configurations: How many methods and controls.
        forwards: Forward passes of perturbed images: measured on one image, times images and methods.
        seconds_per_forward: Of perturbed images, in full batches.
        seconds_per_map: By method configuration, per image.
        seconds: Of the whole run, without the checks.
        device: Where it was measured.
        unusable: Images known not to be usable, and why.
    """

    plan: Plan
    configurations: int
    forwards: int
    seconds_per_forward: float
    seconds_per_map: dict[str, float]
    seconds: float
    device: str
    unusable: tuple[tuple[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "images": len(self.plan.source),
            "units": len(self.plan.work_items),
            "rows": self.configurations,
            "forwards": self.forwards,
            "seconds_per_forward": self.seconds_per_forward,
            "seconds_per_map": self.seconds_per_map,
            "seconds": self.seconds,
            "device": self.device,
            "unusable": [{"image": name, "reason": reason} for name, reason in self.unusable],
        }


def estimate(
    config: BenchmarkConfig | str | Path, *, classifier: Classifier | None = None, trust_code: bool = False
) -> Estimate:
    """Plan a run and measure its parts on its first image; nothing is written.

    Every method is tried once, so a method that cannot explain the model is found here.

    Raises:
        As `run_benchmark`.
    """
    config = config if isinstance(config, BenchmarkConfig) else read_benchmark(config, trust_code=trust_code)
    context = RunContext(config, None, classifier, trust_code=trust_code)
    context.import_code()
    config = decide_precision(context, None, LocalEngine().tried)
    plan = make_plan(config, context.classifier)
    context.source = plan.source
    images, configurations = len(plan.source), len(context.configurations)
    with evaluation_mode(context.classifier):
        image = first_image(context)
        timed = _time_maps(context, image)
        each, per_forward = _time_forwards(context, image)
    greedy = min(config.controls.greedy_images, images)
    forwards = 0
    for protocol, (count, once) in zip(context.protocols.values(), each, strict=False):
        searched = 0 if protocol.operator.passes > 1 else greedy
        forwards += (
            count * (images * configurations + searched) + searched * greedy_forwards() + once * images
        )
        forwards += (count * configurations + once) * plan.work_items.measured
    kinds = max(1, len({one.target for one in context.protocols.values()}))  # a survey has no protocol
    seconds = forwards * per_forward + kinds * images * sum(timed.values())
    device, unusable = str(context.classifier.device), tuple(plan.source.faults())
    return Estimate(plan, configurations, forwards, per_forward, timed, seconds, device, unusable)


def _time_maps(context: RunContext, image: InputImage) -> dict[str, float]:
    target = [int(image.logits.argmax())]
    margin = context.config.explain == "margin"
    make_maps(
        context.classifier, context.configurations, [image], target, margin, context.batches
    )  # warms up
    maps = make_maps(context.classifier, context.configurations, [image], target, margin, context.batches)
    return {name: cost.seconds for name, cost in maps.cost.items()}


def _time_forwards(context: RunContext, image: InputImage) -> tuple[list[tuple[int, int]], float]:
    """By protocol forward passes per image and method, and per image; and the time of one in full batches."""
    metrics = metrics_of(context.config, "perturbation")
    if not metrics:
        return [], 0.0
    grid, stream = context.classifier.grid, context.stream
    pixels, target = image.pixels[None], torch.tensor([int(image.logits.argmax())])
    draws = torch.rand(4, 1, grid.rows, grid.cols, generator=torch.Generator().manual_seed(0))
    each, seconds, passes = [], 0.0, 0
    for protocol in context.protocols.values():
        before = stream.forwards
        evaluate(stream, metrics, pixels, draws[:1], target, protocol)
        count, once = stream.forwards - before, 0
        if protocol.operator.image_passes:  # the stream keeps what it has found for the image
            before = stream.forwards
            evaluate(stream, metrics, pixels, draws[1:2], target, protocol)
            once = count - (stream.forwards - before)
            count -= once
        each.append((count, once))
        # maps enough to fill a batch
        full = draws[: max(1, min(4, -(-2 * stream.batch_size // count)))]
        start, before = perf_counter(), stream.forwards
        evaluate(stream, metrics, pixels, full, target, protocol)
        seconds, passes = seconds + perf_counter() - start, passes + stream.forwards - before
    return each, seconds / passes
