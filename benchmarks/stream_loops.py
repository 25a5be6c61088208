"""The loops that `stream_efficiency.py` times: ours, the plain one, and other people's.

Every loop gets the same task, images, maps and steps, and returns its curves where they are comparable.
"""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from xai.metrics.protocol import Protocol
from xai.metrics.registry import evaluate
from xai.perturb import Stream, make_operator

SIDE = 224
BLUR_SIDE, BLUR_SIGMA = 11, 5.0


class Counted(nn.Module):
    """The model under test: counts the images that pass, and computes in the run's type."""

    def __init__(self, model: nn.Module, autocast: torch.dtype | None):
        super().__init__()
        self.model, self.autocast, self.images = model, autocast, 0

    def forward(self, pixels: Tensor) -> Tensor:
        self.images += len(pixels)
        with torch.autocast(pixels.device.type, self.autocast, enabled=self.autocast is not None):
            return self.model(pixels).float()


@dataclass
class Task:
    """What every loop gets: B images, M maps of each, the class to follow, the number of steps."""

    model: Counted
    pixels: Tensor  # (B, 3, H, W), on the device
    maps: Tensor  # (M, B, H, W), on the device, without ties
    targets: Tensor  # (B,), on the CPU
    steps: int

    @property
    def step(self) -> int:
        return SIDE * SIDE // self.steps

    def needed(self, curves: int) -> int:
        """Distinct images: the inner points of every curve, and both end points once per image."""
        count, images = self.maps.shape[:2]
        return images * (count * curves * (self.steps - 1) + 2)


Curves = np.ndarray | None  # (2, M, B, steps + 1): deletion and insertion, for the loops that give them


@dataclass(frozen=True)
class Loop:
    """A row: `make` prepares what is not timed and returns the timed call."""

    name: str
    task: str
    make: Callable[[Task], Callable[[], Curves]]
    curves: int = 2
    module: str | None = None
    note: str = ""
    comparable: bool = False  # the values must be the stream's


def stream_pixels(task: Task) -> Callable[[], Curves]:
    protocol = Protocol(
        name="zeros",
        unit="pixel",
        operator=make_operator("constant", value=0.0, space="normalised"),
        step_units=task.step,
        ties="stable",
        value="probability",
    )
    return lambda: stream_curves(task, task.maps, protocol)


def stream_patches(protocol: str) -> Callable[[Task], Callable[[], Curves]]:
    def make(task: Task) -> Callable[[], Curves]:
        patches = nn.functional.avg_pool2d(task.maps, 16)
        changed = {"base": protocol, "steps": task.steps, "value": "probability"}
        return lambda: stream_curves(task, patches, changed)

    return make


def stream_curves(task: Task, maps: Tensor, protocol: object) -> Curves:
    stream = Stream(task.model, batch_size=len(task.pixels))
    scores = evaluate(stream, ["deletion", "insertion"], task.pixels, maps, task.targets, protocol)
    return np.stack([scores[name].curve.numpy() for name in ("deletion", "insertion")])


def plain_loop(task: Task) -> Callable[[], Curves]:
    """What one writes in ten minutes: per map and step, one mask, one forward of the image batch."""

    def run() -> Curves:
        curves = []
        rows = torch.arange(len(task.pixels))
        blank = torch.zeros_like(task.pixels)
        with torch.inference_mode():
            for start, end in ((task.pixels, blank), (blank, task.pixels)):
                for relevance in task.maps:
                    order = relevance.flatten(1).argsort(dim=1, descending=True, stable=True)
                    ranks = order.argsort(dim=1).reshape(relevance.shape)[:, None]
                    curve = []
                    for k in range(0, SIDE * SIDE + 1, task.step):
                        logits = task.model(torch.where(ranks < k, end, start))
                        curve.append(logits.softmax(1)[rows, task.targets].cpu())
                    curves.append(torch.stack(curve, 1))
        return torch.stack(curves).reshape(2, len(task.maps), len(rows), -1).numpy()

    return run


def rise_style(blurred: bool) -> Callable[[Task], Callable[[], Curves]]:
    """The procedure of RISE's batch evaluation: NumPy order, images edited in place on the host."""

    def make(task: Task) -> Callable[[], Curves]:
        host, device = task.pixels.cpu(), task.pixels.device
        kernel = rise_kernel()[None, None].expand(3, 1, -1, -1)

        def run() -> Curves:
            curves = []
            images, rows = len(host), np.arange(len(host))[:, None]
            with torch.inference_mode():
                blank = torch.zeros_like(host)
                under = nn.functional.conv2d(host, kernel, padding=BLUR_SIDE // 2, groups=3)
                for kind in ("deletion", "insertion"):
                    for relevance in task.maps.cpu().numpy():
                        top = task.model(host.to(device)).softmax(1).cpu().numpy().argmax(1)
                        order = np.flip(np.argsort(relevance.reshape(images, -1), axis=1), axis=1)
                        substrate = under if blurred and kind == "insertion" else blank
                        first, last = (host, substrate) if kind == "deletion" else (substrate, host)
                        current, final = first.clone(), last.numpy().reshape(images, 3, -1)
                        pixels = current.numpy().reshape(images, 3, -1)
                        curve = []
                        for i in range(task.steps + 1):
                            answers = task.model(current.to(device)).softmax(1).cpu().numpy()
                            curve.append(answers[np.arange(images), top])
                            where = order[:, task.step * i : task.step * (i + 1)]
                            pixels[rows, :, where] = final[rows, :, where]
                        curves.append(np.stack(curve, 1))
            return np.stack(curves).reshape(2, len(task.maps), images, -1)

        return run

    return make


def rise_kernel() -> Tensor:
    """RISE's blur, (11, 11): a delta through a Gaussian whose borders reflect, so nearly a box."""
    offsets = np.arange(BLUR_SIDE)
    centre, total = BLUR_SIDE // 2, np.zeros(BLUR_SIDE)
    for shift in range(-20, 21):  # cut at 4 sigma
        place = np.mod(centre + shift, 2 * BLUR_SIDE)
        total += np.exp(-0.5 * (shift / BLUR_SIGMA) ** 2) * (offsets == min(place, 2 * BLUR_SIDE - 1 - place))
    total /= total.sum()
    return torch.from_numpy(np.outer(total, total)).float()


def unused(make: Callable[[Task], Callable[[], np.ndarray]]) -> Callable[[Task], Callable[[], Curves]]:
    """The same call, for its time alone: its values are not curves of the stream's kind."""

    def made(task: Task) -> Callable[[], Curves]:
        call = make(task)

        def run() -> Curves:
            call()
            return None

        return run

    return made


def quantus_pixel_flipping(task: Task) -> Callable[[], np.ndarray]:
    """Deletion, (M, B, 3 · steps): features are channel values, every third point removed whole pixels."""
    import quantus

    metric = quantus.PixelFlipping(
        features_in_step=task.step,
        perturb_baseline=0.0,
        normalise=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    images, labels = task.pixels.cpu().numpy(), task.targets.numpy()
    maps = task.maps.cpu().numpy()[:, :, None]

    def run() -> np.ndarray:
        curves = [
            metric(
                model=task.model,
                x_batch=images,
                y_batch=labels,
                a_batch=relevance,
                device=str(task.pixels.device),
                softmax=True,
                channel_first=True,
                batch_size=len(images),
            )
            for relevance in maps
        ]
        return np.array(curves)

    return run


def torchcam_metric(task: Task) -> Callable[[], np.ndarray]:
    """Areas under deletion and insertion, (2,): means over maps and images."""
    from torchcam.metrics import DeletionInsertionMetric

    class Given:
        """Stands where a CAM extractor is expected and hands out the maps in turn, at no cost."""

        model = task.model

        def __init__(self) -> None:
            self.next = 0

        def __call__(self, *_: object, **__: object) -> list[Tensor]:
            self.next += 1
            return [task.maps[(self.next - 1) % len(task.maps)]]

        def fuse_cams(self, cams: list[Tensor]) -> Tensor:
            return cams[0]

        def _hooks_off(self) -> contextlib.AbstractContextManager:
            return contextlib.nullcontext()

    def run() -> np.ndarray:
        metric = DeletionInsertionMetric(
            Given(), lambda logits: logits.softmax(1), steps=task.steps, batch_size=len(task.pixels)
        )
        for _ in task.maps:
            with torch.no_grad():
                metric.update(task.pixels, task.targets.tolist())
        return np.array(list(metric.summary().values()))

    return run


LOOPS = (
    Loop("xai stream, pixels", "deletion + insertion", stream_pixels),
    Loop("plain per-step loop, pixels", "deletion + insertion", plain_loop, comparable=True),
    Loop("RISE-style evaluation, zeros", "deletion + insertion", rise_style(blurred=False), comparable=True),
    Loop(
        "RISE-style evaluation, own blur",
        "deletion + insertion",
        rise_style(blurred=True),
        note="inserts into the blurred image, as published",
    ),
    Loop(
        "Quantus PixelFlipping",
        "deletion",
        unused(quantus_pixel_flipping),
        curves=1,
        module="quantus",
        note="features are channel values, so the same features per step mean three times the steps",
    ),
    Loop(
        "torchcam DeletionInsertionMetric",
        "deletion + insertion",
        unused(torchcam_metric),
        module="torchcam",
        note="given the maps in place of a CAM extractor",
    ),
    Loop("xai stream, patches masked (vit-token)", "deletion + insertion", stream_patches("vit-token")),
    Loop("xai stream, patches replaced (vit-mean)", "deletion + insertion", stream_patches("vit-mean")),
)
