"""Rows of the second table: deletion, insertion and ROAD beside the peers' own metrics.

Both get the same model, images, maps and classes, and the same number of images per forward pass. The unit is
the forward passes that the curves need (each inner point once, both ends once per image) in plain batches.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

import xai
from benchmarks.attribution_cost import Detector
from benchmarks.peers.pairs import Row, Trial, measure_row
from benchmarks.peers.victims import prepared, width
from benchmarks.stream_loops import (
    SIDE,
    Counted,
    Task,
    quantus_pixel_flipping,
    rise_style,
    torchcam_metric,
)
from xai.core import keep_freed_memory
from xai.data import forged_samples
from xai.metrics.protocol import Protocol
from xai.metrics.registry import evaluate
from xai.perturb import Stream, make_operator
from xai.perturb.road import impute

PERCENTILES = tuple(range(10, 100, 10))
PLAIN = 2  # batches in one call of the unit


def measure(job: dict) -> dict:
    if job["part"] == "time" and job["device"] == "cpu":
        # for both, as the command line does: a call of many passes else times the kernel's zeroing of pages
        keep_freed_memory()
    return measure_row(ROWS, job)


# ---------------------------------------------------------------------- the task


def make_task(job: dict) -> Task:
    """Photographs, smooth maps without ties, and the classes that the model says."""
    device = torch.device(job["device"])
    torch.manual_seed(0)
    demo = xai.load("demo")
    pixels = torch.stack([demo.preprocess(one.image) for one in forged_samples(count=job["images"])])
    model = demo if job["model"] == "demo" else Detector(SIDE, "sdpa", job["depth"], width(job))
    model = prepared(model, {**job, "dtype": "float32"})  # reduced types by autocast, for both
    autocast = None if job["dtype"] == "float32" else getattr(torch, job["dtype"])
    counted = Counted(model, autocast).eval().to(device)
    pixels = pixels.to(device)
    with torch.inference_mode():
        targets = counted(pixels).argmax(1).cpu().clone()
    return Task(counted, pixels, smooth_ranks(job["maps"], job["images"]).to(device), targets, job["steps"])


def smooth_ranks(maps: int, images: int) -> Tensor:
    """(M, B, 224, 224): random patches, interpolated; their ranks, so that no two pixels are equal."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(maps * images, 1, SIDE // 16, SIDE // 16, generator=generator)
    fine = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear").flatten(1)
    ranks = fine.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks.float().reshape(maps, images, SIDE, SIDE)


def trial(
    task: Task,
    needed: float,
    ours: Callable[[], np.ndarray],
    theirs: Callable[[], np.ndarray],
    agreement: Callable[[np.ndarray, np.ndarray], dict[str, float]],
) -> Trial:
    """One that needs so many images through the model."""

    def forward() -> None:
        with torch.inference_mode():
            for _ in range(PLAIN):
                task.model(task.pixels)

    def count() -> int:
        passed, task.model.images = task.model.images, 0
        return passed

    images = len(task.pixels)
    units = needed / (PLAIN * images)
    return Trial(ours, theirs, forward, agreement, units, count, images * len(task.maps))


def largest(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """The largest difference, in probability or logits."""
    return {"difference": float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())}


# ---------------------------------------------------------------------- deletion and insertion


def stream(task: Task, metrics: list[str], protocol: Protocol) -> Callable[[], dict]:
    """Ours: values of the metrics, (M, B, points)."""
    runner = Stream(task.model, batch_size=len(task.pixels))

    def run() -> dict[str, np.ndarray]:
        scores = evaluate(runner, metrics, task.pixels, task.maps, task.targets, protocol)
        return {name: one.curve.numpy() for name, one in scores.items()}

    return run


def zeros(task: Task) -> Protocol:
    grey = make_operator("constant", value=0.0, space="normalised")
    return Protocol(
        "zeros", "pixel", grey, step_units=task.step, ties="stable", value="probability", auc="trapezoid"
    )


def quantus(job: dict) -> Trial:
    task = make_task(job)
    flipped, run = quantus_pixel_flipping(task), stream(task, ["deletion"], zeros(task))
    return trial(
        task, task.needed(1), lambda: run()["deletion"][..., 1:], lambda: flipped()[..., 2::3], largest
    )


def rise(job: dict) -> Trial:
    task = make_task(job)
    return trial(task, task.needed(2), both(task), rise_style(blurred=False)(task), largest)


def both(task: Task) -> Callable[[], np.ndarray]:
    """Ours: deletion and insertion, (2, M, B, points)."""
    run = stream(task, ["deletion", "insertion"], zeros(task))

    def ours() -> np.ndarray:
        curves = run()
        return np.stack([curves["deletion"], curves["insertion"]])

    return ours


def torchcam(job: dict) -> Trial:
    task = make_task(job)

    def means(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
        areas = np.trapezoid(ours, dx=1 / task.steps, axis=-1).mean((1, 2))
        return largest(areas, theirs)

    return trial(task, task.needed(2), both(task), torchcam_metric(task), means)


# ---------------------------------------------------------------------- ROAD


def road_protocol(percentiles: Sequence[int]) -> Protocol:
    """Removes what lies above the percentiles, most first."""
    return Protocol(
        "road-nine",
        "pixel",
        make_operator("road"),
        fractions=tuple(sorted((100 - p) / 100 for p in percentiles)),
        ends=False,
        ties="stable",
        value="logit",
        auc="mean",
    )


def grad_cam_road(combined: bool) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        from pytorch_grad_cam.metrics.road import ROADCombined, ROADMostRelevantFirstAverage
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        task, percentiles = make_task(job), list(job["percentiles"])
        peer = (ROADCombined if combined else ROADMostRelevantFirstAverage)(percentiles)
        targets = [ClassifierOutputTarget(int(one)) for one in task.targets]
        maps = (task.maps / (SIDE * SIDE - 1)).cpu().numpy()  # it takes them to be from 0 to 1
        metrics, protocol = ["morf", "lerf"] if combined else ["morf"], road_protocol(percentiles)
        runner = Stream(task.model, batch_size=len(task.pixels))

        def ours() -> np.ndarray:
            scores = evaluate(runner, metrics, task.pixels, task.maps, task.targets, protocol)
            morf = scores["morf"].value.numpy()
            if combined:
                return (scores["lerf"].value.numpy() - morf) / 2
            return morf - scores["morf"].clean.numpy()

        def theirs() -> np.ndarray:
            return np.stack([peer(task.pixels, one, targets, task.model) for one in maps])

        states = len(metrics) * len(percentiles) * len(maps) + 1
        return trial(task, states * len(task.pixels), ours, theirs, largest)

    return make


def imputation(job: dict) -> Trial:
    """The linear systems alone: one mask per percentile of every image, without noise."""
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    task = make_task(job)
    peer = NoisyLinearImputer(noise=0.0)
    removed = torch.stack([task.maps[0] >= SIDE * SIDE * p / 100 for p in job["percentiles"]])
    kept, host = (~removed).float().cpu(), task.pixels.cpu()
    repeated = task.pixels.expand(len(removed), *task.pixels.shape).flatten(0, 1)

    def ours() -> np.ndarray:
        return impute(repeated, removed.flatten(0, 1)).cpu().numpy()

    def theirs() -> np.ndarray:
        filled = [peer(image, mask) for masks in kept for image, mask in zip(host, masks, strict=True)]
        return torch.stack(filled).numpy()

    return trial(task, len(repeated), ours, theirs, largest)


# ---------------------------------------------------------------------- table

CHANNELS = "its features are channel values: three steps for each of ours, every third compared"


def table() -> list[Row]:
    pair = "deletion + insertion"
    imputed = "scipy's sparse LU, one image after the other"
    return [
        Row("deletion", "Quantus PixelFlipping", "quantus", quantus, CHANNELS, slow=True),
        Row(
            pair,
            "torchcam DeletionInsertionMetric",
            "torchcam",
            torchcam,
            "given the maps in place of a CAM extractor; two means over images, no curves",
            slow=True,
        ),
        Row(pair, "script, RISE-style evaluation", None, rise, slow=True),
        Row(
            "ROAD, the linear systems",
            "grad-cam NoisyLinearImputer",
            "grad-cam",
            imputation,
            imputed,
            slow=True,
        ),
        Row(
            "ROAD, most relevant first",
            "grad-cam ROADMostRelevantFirstAverage",
            "grad-cam",
            grad_cam_road(combined=False),
            f"{imputed}; both draw noise of their own",
            slow=True,
        ),
        Row(
            "ROAD, both directions",
            "grad-cam ROADCombined",
            "grad-cam",
            grad_cam_road(combined=True),
            f"{imputed}; both draw noise of their own",
            slow=True,
        ),
    ]


ROWS = {row.name: row for row in table()}
