"""Rows of the first table: attribution methods beside the peers' own implementations.

Ours returns what the peer returns, in the peer's form and scale; that is timed too. Class 1 is explained
everywhere, or text 0 where a model compares images with texts.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.attribution_cost import eager_autograd, retain_grad
from benchmarks.peers import scripts
from benchmarks.peers.pairs import Row, Trial, measure_row
from benchmarks.peers.victims import (
    clip_detectors,
    open_clip_models,
    quietly,
    timm_vits,
    torchvision_vits,
)
from xai.attr import create

TARGET = 1
Map = Callable[[Tensor], Tensor]


def measure(job: dict) -> dict:
    return measure_row(ROWS, job)


def trial(job: dict, model: nn.Module, ours: Map, theirs: Map) -> Trial:
    """The same images for both; `model` is the plain one, whose forward pass is the unit."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(job["batch"], 3, job["side"], job["side"], generator=generator)
    pixels = pixels.to(torch.device(job["device"]), getattr(torch, job["dtype"]))

    @torch.no_grad()
    def forward() -> Tensor:
        return model(pixels)

    return Trial(lambda: ours(pixels), lambda: theirs(pixels), forward, compare_maps, pieces=job["batch"])


def compare_maps(ours: Tensor, theirs: Tensor) -> dict[str, float]:
    """The worst image's rank correlation, and its largest difference relative to the peer's largest value."""
    from scipy.stats import spearmanr

    a, b = (x.detach().cpu().double().flatten(1) for x in (ours, torch.as_tensor(theirs)))
    difference = (a - b).abs().amax(1) / b.abs().amax(1)
    correlation = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    return {"spearman": float(min(correlation)), "difference": float(difference.max())}


def method(name: str, model: nn.Module, target: int = TARGET, **options: object) -> Map:
    """One of ours as (B, patches)."""
    made = create(name, model, **options)
    return lambda pixels: made.attribute_patches(pixels, target).flatten(1)


# ---------------------------------------------------------------------- attention, all in eager


def weighted_by_captum(layers: str) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        from captum.attr import LayerGradientXActivation

        fused, eager = clip_detectors(job)
        blocks = eager.backbone.encoder.layers
        attention = [block.self_attn for block in blocks[-_layers(layers, job) :]]
        peer = LayerGradientXActivation(eager, attention)

        def theirs(pixels: Tensor) -> Tensor:
            leaf = pixels.detach().requires_grad_()
            products = peer.attribute(leaf, target=TARGET)  # per layer: output, attention (B, H, N, N)
            return torch.stack([p[1].mean(1)[:, 0, 1:] for p in products]).mean(0).clamp_min(0)

        return trial(job, fused, weighted(fused, layers), theirs)

    return make


def weighted_by_script(script: Callable, layers: str) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        fused, eager = clip_detectors(job)
        ours = weighted(fused, layers)
        return trial(job, fused, ours, lambda pixels: script(eager, pixels, _layers(layers, job)))

    return make


def weighted(model: nn.Module, layers: str) -> Map:
    """Ours, clamped as the script clamps it."""
    return method("gradient_weighted_attention", model, layers=layers, clamp="fused")


def _layers(preset: str, job: dict) -> int:
    return {"last_4_layers": 4, "all_layers": job["depth"]}[preset]


def by_script(name: str, script: Callable) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        fused, eager = clip_detectors(job)
        return trial(job, fused, method(name, fused), script(eager))

    return make


# ---------------------------------------------------------------------- LeGrad


def legrad_torch(layers: str) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        from legrad import LeWrapper

        ours, tower, texts = open_clip_models(job)
        first = job["depth"] - _layers(layers, job)
        wrapped = quietly(lambda: LeWrapper(tower, layer_index=first))
        patches = method("legrad", ours, target=0, layers=layers)

        def enlarged(pixels: Tensor) -> Tensor:
            side = pixels.shape[-1] // 16
            maps = patches(pixels).unflatten(1, (1, side, side))
            return ranged(F.interpolate(maps, scale_factor=16, mode="bilinear"))

        return trial(job, ours, enlarged, lambda pixels: wrapped.compute_legrad(texts[:1], pixels))

    return make


def torchcam_legrad(job: dict) -> Trial:
    from torchcam.methods import LeGrad

    plain, hooked = torchvision_vits(job)
    peer = LeGrad(hooked, list(hooked.encoder.layers))
    patches = method("legrad", plain)

    def theirs(pixels: Tensor) -> Tensor:
        scores = hooked(pixels)
        return peer(TARGET, scores)[0]

    def fused(pixels: Tensor) -> Tensor:
        return ranged(patches(pixels).unflatten(1, (1, pixels.shape[-1] // 16, -1)))

    return trial(job, plain, fused, theirs)


def ranged(maps: Tensor) -> Tensor:
    """Each image's map from 0 to 1."""
    low, high = (f(maps.flatten(1), 1)[:, None, None, None] for f in (torch.amin, torch.amax))
    return (maps - low) / (high - low)


# ---------------------------------------------------------------------- token Grad-CAM


def grad_cam(frozen: bool) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        plain, hooked = timm_vits(job)
        layer = hooked.blocks[-1].norm1
        (layer if frozen else hooked).requires_grad_(True)  # it hooks what requires gradients
        peer = GradCAM(hooked, [layer], reshape_transform=as_image)
        targets = [ClassifierOutputTarget(TARGET)] * job["batch"]
        patches = method("token_grad_cam", plain)

        def enlarged(pixels: Tensor) -> Tensor:
            maps = patches(pixels).unflatten(1, (1, pixels.shape[-1] // 16, -1))
            return ranged(F.interpolate(ranged(maps), pixels.shape[-2:], mode="bilinear"))

        return trial(job, plain, enlarged, lambda pixels: peer(pixels, targets))

    return make


def torchcam_grad_cam(job: dict) -> Trial:
    from torchcam.methods import GradCAM

    plain, hooked = timm_vits(job)
    hooked.blocks[-1].norm1.requires_grad_(True)
    peer = GradCAM(hooked, hooked.blocks[-1].norm1, reshape_transform=as_image)
    patches = method("token_grad_cam", plain)

    def theirs(pixels: Tensor) -> Tensor:
        scores = hooked(pixels)
        return peer(TARGET, scores)[0]

    def scaled(pixels: Tensor) -> Tensor:
        return ranged(patches(pixels).unflatten(1, (1, pixels.shape[-1] // 16, -1)))

    return trial(job, plain, scaled, theirs)


def as_image(tokens: Tensor) -> Tensor:
    """(B, 1 + patches, D) → (B, D, rows, cols) of a square grid."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)


# ---------------------------------------------------------------------- integrated gradients


def captum_integrated(at_once: int | None) -> Callable[[dict], Trial]:
    def make(job: dict) -> Trial:
        from captum.attr import IntegratedGradients

        plain, other = clip_detectors(job)
        other.backbone.set_attn_implementation("sdpa")
        peer = IntegratedGradients(other)

        def theirs(pixels: Tensor) -> Tensor:
            values = peer.attribute(pixels, target=TARGET, n_steps=50, internal_batch_size=at_once)
            return F.avg_pool2d(values.sum(1), 16).flatten(1) * 256

        return trial(job, plain, method("integrated_gradients", plain), theirs)

    return make


# ---------------------------------------------------------------------- table

EAGER = "script, eager attention"
ALONE = {"batch": 1}
CAPTUM = (
    "eager attention; its layers' heads, rows and mean taken here; frozen weights need pixels with gradients"
)


def table() -> list[Row]:
    rows = []
    for preset, words in (("last_4_layers", "last 4 layers"), ("all_layers", "all layers")):
        task = f"gradient-weighted attention, {words}"
        rows += [
            Row(task, "captum LayerGradientXActivation", "captum", weighted_by_captum(preset), CAPTUM),
            Row(task, f"{EAGER}, gradient of the maps", None, weighted_by_script(eager_autograd, preset)),
            Row(task, f"{EAGER}, full backward pass", None, weighted_by_script(retain_grad, preset)),
        ]
        image = "one image at a time; bilinear to pixels, 0 to 1"
        rows.append(
            Row(f"LeGrad, {words}", "LeGrad", "legrad_torch", legrad_torch(preset), image, settings=ALONE)
        )
    note = "averages layers where LeGrad sums them: the same once scaled to 0 … 1"
    return [
        *rows,
        Row("LeGrad, all layers", "torchcam LeGrad", "torchcam", torchcam_legrad, note),
        Row(
            "Chefer generic", f"{EAGER}, gradient of the maps", None, by_script("chefer", scripts.chefer_lean)
        ),
        Row(
            "Chefer generic",
            f"{EAGER}, full backward pass",
            None,
            by_script("chefer", scripts.chefer_published),
        ),
        Row("rollout", EAGER, None, by_script("attention_rollout", scripts.rollout)),
        Row(
            "token Grad-CAM",
            "grad-cam",
            "grad-cam",
            grad_cam(frozen=False),
            "weights not frozen, its usual use",
        ),
        Row(
            "token Grad-CAM",
            "grad-cam, frozen",
            "grad-cam",
            grad_cam(frozen=True),
            "frozen but for the layer looked at",
        ),
        Row(
            "token Grad-CAM",
            "torchcam GradCAM",
            "torchcam",
            torchcam_grad_cam,
            "frozen but for the layer looked at",
        ),
        Row(
            "integrated gradients, 50 steps",
            "captum, all steps at once",
            "captum",
            captum_integrated(None),
            slow=True,
            settings=ALONE,
        ),
        Row(
            "integrated gradients, 50 steps",
            "captum, 32 at once",
            "captum",
            captum_integrated(32),
            "ours is captum's, with sums per patch",
            slow=True,
            settings=ALONE,
        ),
    ]


ROWS = {row.name: row for row in table()}
