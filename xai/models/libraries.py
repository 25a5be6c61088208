"""Models of timm and open_clip; the libraries are imported when one is loaded."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai.core import ModelError, ProblemType, UsageError
from xai.core.classes import check_labels
from xai.models.classifier import Classifier, LoadOptions
from xai.models.detector import TextSimilarity
from xai.models.preprocessing import Preprocessing


def load_timm(model_name: str, options: LoadOptions) -> Classifier:
    """A timm model with its pretrained weights and evaluation preprocessing.

    Args:
        model_name: As timm names it, also "hf-hub:ORG/NAME" and "local-dir:DIR".
        options: Default labels are those that its configuration names, else those of its ImageNet variant.
            timm does not say the problem type; the default are exclusive classes.

    Raises:
        UsageError: When timm is not installed.
        ModelError: When timm knows no such model, or it has no classification head.
    """
    try:
        import timm  # pyrefly: ignore[missing-import]
        from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config  # pyrefly: ignore[missing-import]
    except ImportError:
        raise UsageError("timm is not installed.", "pip install 'vit-xai[timm]'") from None
    try:
        model: Any = timm.create_model(model_name, pretrained=True)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"timm cannot load {model_name}: {error}", "timm.list_pretrained() lists names."
        ) from error
    if not model.num_classes:
        raise ModelError(f"{model_name} has no classification head.", "Fine-tuned variants have one.")
    labels = options.labels or _names(model)
    if labels is None:
        subset = infer_imagenet_subset(model)
        if subset is None:
            raise UsageError(
                f"{model_name} does not name its {model.num_classes} classes.", "Give labels=[...]."
            )
        info = ImageNetInfo(subset)
        # short names repeat ("crane"), so the synset id stands with them
        labels = [
            f"{info.index_to_description(i)} ({info.index_to_label_name(i)})"
            for i in range(model.num_classes)
        ]
    check_labels(labels, model.num_classes, options.name)
    return options.classifier(model.eval(), labels, read_data_config(resolve_model_data_config(model)))


def _names(model: Any) -> list[str] | None:
    """The names that a model's configuration gives its classes, with their descriptions; None without."""
    names = model.pretrained_cfg.get("label_names")
    if not isinstance(names, list | tuple) or len(names) != model.num_classes:
        return None
    described = model.pretrained_cfg.get("label_descriptions") or {}
    return [f"{described[name]} ({name})" if name in described else str(name) for name in names]


def read_data_config(data: dict[str, Any]) -> Preprocessing:
    """The evaluation transform that timm makes of a data configuration: resize by crop_pct, then crop.

    Raises:
        ModelError: For a way of cropping that is not known.
    """
    _, height, width = data["input_size"]
    shared = {"interpolation": data["interpolation"], "mean": tuple(data["mean"]), "std": tuple(data["std"])}
    shared["torchvision_crop"] = True
    enlarged = int(height / data["crop_pct"]), int(width / data["crop_pct"])
    if data["crop_mode"] == "squash":
        return Preprocessing(size=enlarged, crop=(height, width), **shared)
    if data["crop_mode"] == "center" and height == width:
        return Preprocessing(shortest_edge=enlarged[0], crop=(height, width), **shared)
    raise ModelError(f"timm's crop mode {data['crop_mode']} at {height}×{width} is not known here.")


def load_open_clip(place: str, options: LoadOptions) -> Classifier:
    """An open_clip model whose classes are texts.

    Args:
        place: "NAME/PRETRAINED", such as "ViT-B-32/laion2b_s34b_b79k", or what open_clip wrote for the hub:
            "hf-hub:ORG/NAME", "local-dir:DIR".
        options: Of prompts and labels, one text per class, each stands for the other where it is not given.
            The default problem type are independent labels for SigLIP (it has a bias), else exclusive
            classes.

    Raises:
        UsageError: When open_clip is not installed, or there are no texts.
        ModelError: When open_clip knows no such model.
    """
    try:
        import open_clip  # pyrefly: ignore[missing-import]
    except ImportError:
        raise UsageError("open_clip is not installed.", "pip install 'vit-xai[open-clip]'") from None
    texts = options.prompts or options.labels
    if not texts or len(options.labels or texts) != len(texts):
        raise UsageError(
            f"The classes of {options.name} are texts.", "Give one prompt per label: prompts=[...]."
        )
    if place.startswith(("hf-hub:", "local-dir:")):
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
