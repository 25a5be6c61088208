"""The models under test, twice with the same weights: one copy for ours, one that a peer may rebuild."""

import contextlib
import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.attribution_cost import Detector

CLASSES = 2


def twins(make: Callable[[], nn.Module], job: dict) -> tuple[nn.Module, nn.Module]:
    """Two frozen models of the same random weights, on the job's device and in its type."""
    torch.manual_seed(0)
    first = make()
    second = make()
    second.load_state_dict(first.state_dict())
    return prepared(first, job), prepared(second, job)


def prepared(model: nn.Module, job: dict) -> nn.Module:
    return model.eval().requires_grad_(False).to(torch.device(job["device"]), getattr(torch, job["dtype"]))


def width(job: dict) -> int:
    """768 as in ViT-B/16; narrow where it is only shown that the program works."""
    return 64 if job["quick"] else 768


def clip_detectors(job: dict) -> tuple[Detector, Detector]:
    """Hugging Face CLIP ViT-B/16 with a linear head: with fused, and with eager attention."""
    torch.manual_seed(0)
    fused = Detector(job["side"], "sdpa", job["depth"], width(job))
    eager = Detector(job["side"], "eager", job["depth"], width(job))
    eager.load_state_dict(fused.state_dict())
    return prepared(fused, job), prepared(eager, job)


def timm_vits(job: dict) -> tuple[nn.Module, nn.Module]:
    import timm

    options = {"embed_dim": width(job), "num_heads": width(job) // 64, "depth": job["depth"]}
    return twins(
        lambda: timm.create_model(
            "vit_base_patch16_224", pretrained=False, num_classes=CLASSES, img_size=job["side"], **options
        ),
        job,
    )


def torchvision_vits(job: dict) -> tuple[nn.Module, nn.Module]:
    from torchvision.models import VisionTransformer

    def make() -> nn.Module:
        wide = width(job)
        model = VisionTransformer(
            image_size=job["side"],
            patch_size=16,
            num_layers=job["depth"],
            num_heads=wide // 64,
            hidden_dim=wide,
            mlp_dim=4 * wide,
            num_classes=CLASSES,
        )
        nn.init.normal_(model.heads.head.weight, std=0.02)  # it starts with a head of zeros
        return model

    return twins(make, job)


class ZeroShot(nn.Module):
    """An open_clip model's cosine between image and texts, as logits."""

    def __init__(self, tower: nn.Module, texts: Tensor):
        super().__init__()
        self.tower = tower
        self.register_buffer("texts", texts)

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.normalize(self.tower(pixels), dim=-1) @ self.texts.T


def open_clip_models(job: dict) -> tuple[ZeroShot, nn.Module, Tensor]:
    """Ours as a zero-shot classifier, the other as open_clip makes it, and the embedded texts (2, width).

    The text tower has one layer: the texts are given embedded, so it never runs.
    """
    from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg

    wide = width(job)
    vision = CLIPVisionCfg(layers=job["depth"], width=wide, patch_size=16, image_size=job["side"])
    text = CLIPTextCfg(layers=1, width=wide, heads=wide // 64)
    ours, theirs = twins(lambda: CLIP(wide, vision, text), job)
    texts = nn.functional.normalize(torch.randn(CLASSES, wide), dim=-1)
    texts = texts.to(torch.device(job["device"]), getattr(torch, job["dtype"]))
    return ZeroShot(ours.visual, texts), theirs, texts


def quietly(call: Callable[[], nn.Module]) -> nn.Module:
    """What a call returns, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call()
