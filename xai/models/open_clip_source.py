"""open_clip models as zero-shot classifiers."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ModelError, ProblemType, UsageError
from xai.models.classifier import Classifier, Grid
from xai.models.detector import TextSimilarity
from xai.models.preprocessing import Preprocessing


def load_open_clip(
    place: str,
    name: str,
    labels: Sequence[str] | None,
    grid: Grid | None,
    prompts: Sequence[str] | None,
    problem_type: str | None = None,
) -> Classifier:
    """An open_clip model whose classes are texts.

    Args:
        place: "NAME/PRETRAINED", such as "ViT-B-32/laion2b_s34b_b79k", or "hf-hub:ORG/NAME".
        name: What the classifier is called.
        labels: Class names; default the texts.
        grid: Instead of the one read from the model.
        prompts: One text per class; default the labels.
        problem_type: Default independent labels for SigLIP (it has a bias), else exclusive classes.

    Raises:
        UsageError: When open_clip is not installed, or there are no texts.
        ModelError: When open_clip knows no such model.
    """
    try:
        import open_clip  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError("open_clip is not installed.", "pip install 'vit-xai[open-clip]'") from None
    texts = prompts or labels
    if not texts or len(labels or texts) != len(texts):
        raise UsageError(f"The classes of {name} are texts.", "Give one prompt per label: prompts=[...].")
    if place.startswith("hf-hub:"):
        model_name, pretrained = place, None
    else:
        model_name, _, pretrained = place.partition("/")
        if not pretrained:
            raise UsageError(f"{name} names no weights.", "Write open_clip:NAME/PRETRAINED.")
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
    return Classifier(
        nn.Sequential(_ImageTower(model.visual), head).eval(),
        labels or texts,
        name=name,
        grid=grid,
        preprocessing=_preprocessing(open_clip.get_model_preprocess_cfg(model)),
        facts={"prompts": list(texts)},
        problem_type=problem_type or (None if bias is None else ProblemType.MULTI_LABEL),
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
