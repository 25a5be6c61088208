"""open_clip models as zero-shot classifiers."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ModelError, ProblemType, UsageError
from xai.models.classifier import Classifier, LoadOptions
from xai.models.detector import TextSimilarity
from xai.models.preprocessing import Preprocessing


def load_open_clip(place: str, options: LoadOptions) -> Classifier:
    """An open_clip model whose classes are texts.

    Args:
        place: "NAME/PRETRAINED", such as "ViT-B-32/laion2b_s34b_b79k", or "hf-hub:ORG/NAME".
        options: Of prompts and labels, one text per class, each stands for the other where it is not given.
            The default problem type are independent labels for SigLIP (it has a bias), else exclusive
            classes.

    Raises:
        UsageError: When open_clip is not installed, or there are no texts.
        ModelError: When open_clip knows no such model.
    """
    try:
        import open_clip  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError("open_clip is not installed.", "pip install 'vit-xai[open-clip]'") from None
    texts = options.prompts or options.labels
    if not texts or len(options.labels or texts) != len(texts):
        raise UsageError(
            f"The classes of {options.name} are texts.", "Give one prompt per label: prompts=[...]."
        )
    if place.startswith("hf-hub:"):
        model_name, pretrained = place, None
    else:
        model_name, _, pretrained = place.partition("/")
        if not pretrained:
            raise UsageError(f"{options.name} names no weights.", "Write open_clip:NAME/PRETRAINED.")
    try:
        model: Any = open_clip.create_model(model_name, pretrained=pretrained)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"open_clip cannot load {place}: {error}", "open_clip.list_pretrained() lists names."
        ) from error
    tokens = open_clip.get_tokenizer(model_name)(list(texts))
    with torch.no_grad():
        features = F.normalize(model.eval().encode_text(tokens), dim=-1)
        scale = model.logit_scale.exp().detach()
        bias = getattr(model, "logit_bias", None)
    head = TextSimilarity(features, scale, torch.zeros_like(scale) if bias is None else bias.detach())
    if bias is not None:
        options = replace(options, problem_type=options.problem_type or ProblemType.MULTI_LABEL)
    return options.classifier(
        nn.Sequential(_ImageTower(model.visual), head).eval(),
        options.labels or texts,
        _preprocessing(open_clip.get_model_preprocess_cfg(model)),
        {"prompts": list(texts)},
    )


class _ImageTower(nn.Module):
    """The image tower's pooled feature alone: CoCa's, and others by option, return tokens beside it."""

    def __init__(self, visual: nn.Module):
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, width)."""
        output = self.visual(pixels)
        return output[0] if isinstance(output, tuple) else output


def _preprocessing(data: dict[str, Any]) -> Preprocessing:
    size = data["size"] if isinstance(data["size"], tuple | list) else (data["size"], data["size"])
    height, width = size
    shared = {"interpolation": data["interpolation"], "mean": tuple(data["mean"]), "std": tuple(data["std"])}
    if data["resize_mode"] == "squash":
        return Preprocessing(size=(height, width), **shared)
    if data["resize_mode"] == "shortest" and height == width:
        return Preprocessing(shortest_edge=height, crop=(height, width), torchvision_crop=True, **shared)
    raise ModelError(f"open_clip's resize mode {data['resize_mode']} at {height}×{width} is not known here.")
