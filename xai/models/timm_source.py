"""timm vision transformers."""

from typing import Any

from xai.core import ModelError, UsageError
from xai.models.classifier import Classifier, LoadOptions, check_labels
from xai.models.preprocessing import Preprocessing


def load_timm(model_name: str, options: LoadOptions) -> Classifier:
    """A timm model with its pretrained weights and evaluation preprocessing.

    Args:
        model_name: As timm names it, also "hf-hub:ORG/NAME".
        options: Default labels are those of its ImageNet variant. timm does not say the problem type; the
            default are exclusive classes.

    Raises:
        UsageError: When timm is not installed.
        ModelError: When timm knows no such model, or it has no classification head.
    """
    try:
        import timm  # pyright: ignore[reportMissingImports]
        from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_model_data_config  # pyright: ignore
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
    labels = options.labels
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
