"""A Hugging Face image processor's configuration, read into our own preprocessing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor
from transformers.processing_utils import ImagesKwargs

from xai.core import ModelError, XaiError
from xai.models.measured import measure
from xai.models.preprocessing import Preprocessing
from xai.models.pretrained import from_hub

# (width, height): odd and even, wide and tall, tiny and large; what the two disagree on shows
_PROBES = ((37, 50), (601, 317), (317, 600), (224, 224), (5, 4))
_TOLERANCE = 2e-6  # of values in [0, 1], before they are divided by the deviation; single precision has 6e-8
_CONVNEXT_WARPS_FROM = 384


Reads = Literal["pixels", "patches", "colours"]
"""What a model is given: images, or what `xai.models.conversions` makes of them."""


def read_preprocessing(place: str, trust_remote_code: bool = False, reads: Reads = "pixels") -> Preprocessing:
    """The preprocessing of the processor at `place` (folder or hub name), on the PIL backend.

    It is compared with the processor itself on five images, so a step that we do not know is not skipped
    silently: then the processor itself is run, and where it looks is measured.

    Args:
        place: Folder or hub name.
        trust_remote_code: Whether to run code from the model's repository.
        reads: What the model reads.

    Raises:
        ModelError: When there is no processor, it cannot be run, or what it does is neither what
            `Preprocessing` has steps for nor one upright view of the image.
    """
    processor = _load(place, trust_remote_code)
    try:
        preprocessing = _translate(processor, place)
        for size in _PROBES:
            _compare(processor, preprocessing, place, size, reads)
    except ModelError as unlike:
        try:
            return measure(processor, _PROBES[:-1])  # nothing can be measured in the tiny one
        except Exception:  # of foreign code, or for what it makes of an image
            raise unlike from None
    return preprocessing


def read_colours(place: str, trust_remote_code: bool = False) -> Tensor:
    """(colours, 3) to which ImageGPT's processor at `place` rounds pixels, as it normalises them.

    Raises:
        ModelError: When it has none.
    """
    processor = _load(place, trust_remote_code)
    colours = np.asarray(processor.clusters, dtype=np.float32)
    if colours.ndim != 2 or colours.shape[1] != 3:
        raise _unlike(processor, place, f"has clusters of shape {colours.shape}, not (colours, 3)")
    return torch.from_numpy(colours)


def _load(place: str, trust_remote_code: bool) -> Any:
    try:
        return from_hub(
            AutoImageProcessor.from_pretrained, place, backend="pil", trust_remote_code=trust_remote_code
        )
    except XaiError as error:
        if "dependencies" not in error.message:  # transformers': a processor that knows no PIL
            raise
        raise ModelError(error.message, f"Install what it names, or {_otherwise(place)}") from error
    except ImportError as error:
        raise ModelError(
            f"The image processor of {place} cannot be loaded: {_brief(error)}",
            f"Install what it names, or {_otherwise(place)}",
        ) from error
    except Exception as error:  # a broken preprocessor_config.json fails wherever transformers first reads it
        raise ModelError(
            f"The image processor of {place} cannot be loaded: {_brief(error)}.",
            f"Mend {place}/preprocessor_config.json.",
        ) from error


def _translate(processor: Any, place: str) -> Preprocessing:
    try:
        return _steps(processor, place)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _unlike(processor, place, f"says steps that cannot be read ({_brief(error)})") from error


def _steps(processor: Any, place: str) -> Preprocessing:
    if hasattr(processor, "data_config"):  # timm's own transform, in transformers' clothes
        from xai.models.libraries import read_data_config

        return read_data_config(processor.data_config)
    size = {k: v for k, v in dict(processor.size or {}).items() if v is not None}
    size = size if processor.do_resize else {}
    crop = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", None) else {}
    if size.keys() not in ({"shortest_edge"}, {"height", "width"}, set()):
        raise _unlike(processor, place, f"resizes by {', '.join(size)}")
    normalises = bool(processor.do_normalize)
    if normalises and not all(_channels(processor.image_std)):
        raise _unlike(processor, place, f"divides by an image_std of {processor.image_std}")
    steps = Preprocessing(
        size=(size["height"], size["width"]) if "height" in size else None,
        shortest_edge=size.get("shortest_edge"),
        crop=(crop["height"], crop["width"]) if crop else None,
        interpolation=_filter(processor.resample),
        mean=_channels(processor.image_mean) if normalises else (0.0, 0.0, 0.0),
        std=_channels(processor.image_std) if normalises else (1.0, 1.0, 1.0),
        scale=processor.rescale_factor if processor.do_rescale else 1.0,
    )
    own = _OWN_STEPS.get(_name(processor))
    return steps if own is None else own(steps, processor)


def _convnext(steps: Preprocessing, processor: Any) -> Preprocessing:
    """Below 384 pixels the share `crop_pct` of the resized image is cut out; from there on nothing is."""
    side = steps.shortest_edge
    if side is None:
        return steps
    if side >= _CONVNEXT_WARPS_FROM:
        return replace(steps, size=(side, side), shortest_edge=None)
    return replace(steps, shortest_edge=int(side / processor.crop_pct), crop=(side, side))


def _levit(steps: Preprocessing, processor: Any) -> Preprocessing:
    edge = steps.shortest_edge
    return steps if edge is None else replace(steps, shortest_edge=int((256 / 224) * edge))


def _poolformer(steps: Preprocessing, processor: Any) -> Preprocessing:
    share, sides = processor.crop_pct, steps.size
    if share is None or (sides is None and steps.shortest_edge is None):
        return steps
    if sides is not None and sides[0] != sides[1]:
        return replace(steps, size=(int(sides[0] / share), int(sides[1] / share)))
    edge = sides[0] if sides is not None else steps.shortest_edge or 0
    return replace(steps, size=None, shortest_edge=int(edge / share))


def _efficientnet(steps: Preprocessing, processor: Any) -> Preprocessing:
    """Values from −1 with `rescale_offset`; divided by the deviation once more with `include_top`."""
    offset = 1.0 if processor.rescale_offset and processor.do_rescale else 0.0
    mean, std = tuple(m + offset for m in steps.mean), steps.std
    if processor.include_top:
        std = tuple(s * t for s, t in zip(std, _channels(processor.image_std), strict=True))
    return replace(steps, mean=mean, std=std)


def _mobilevit(steps: Preprocessing, processor: Any) -> Preprocessing:
    """BGR, and never normalised, whatever `do_normalize` says."""
    return replace(
        steps, bgr=bool(processor.do_flip_channel_order), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )


def _perceiver(steps: Preprocessing, processor: Any) -> Preprocessing:
    """Cuts before it resizes: of the short side as much as `size` is of `crop_size`."""
    if steps.size is None or steps.crop is None:
        return steps
    (height, width), (cut_height, cut_width) = steps.size, steps.crop
    return replace(steps, crop=None, cut=(height / cut_height, width / cut_width))


def _textnet(steps: Preprocessing, processor: Any) -> Preprocessing:
    return replace(steps, multiple=int(processor.size_divisor))


def _naflex(steps: Preprocessing, processor: Any) -> Preprocessing:
    sides = int(processor.patch_size), int(processor.max_num_patches)
    return replace(steps, patches=sides) if processor.do_resize else steps


_OWN_STEPS: dict[str, Callable[[Preprocessing, Any], Preprocessing]] = {
    "ConvNextImageProcessor": _convnext,
    "LevitImageProcessor": _levit,
    "PerceiverImageProcessor": _perceiver,
    "PoolFormerImageProcessor": _poolformer,
    "Siglip2ImageProcessor": _naflex,
    "TextNetImageProcessor": _textnet,
    "EfficientNetImageProcessor": _efficientnet,
    "MobileViTImageProcessor": _mobilevit,
}


def _compare(
    processor: Any, preprocessing: Preprocessing, place: str, size: tuple[int, int], reads: Reads
) -> None:
    width, height = size
    options: dict[str, Any] = {"do_color_quantize": False} if reads == "colours" else {}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
    try:
        kind = "pt" if hasattr(processor, "data_config") else "np"
        given = processor(image, return_tensors=kind, **options)
    except Exception as error:  # it is foreign code, and some of it wants pairs of images, texts, clusters …
        raise _unlike(processor, place, f"cannot prepare an image alone ({_brief(error)})") from error
    if not isinstance(given, Mapping) or "pixel_values" not in given:
        found = ", ".join(given) if isinstance(given, Mapping) else type(given).__name__
        raise _unlike(processor, place, f"gives {found}, not pixel_values")
    theirs, ours = np.asarray(given["pixel_values"][0]), preprocessing(image).numpy()
    if reads == "patches" and theirs.ndim == 2 and "spatial_shapes" in given:
        theirs = _untiled(theirs, *(int(n) for n in given["spatial_shapes"][0]))
    if theirs.ndim != 3:
        raise _unlike(processor, place, f"gives values of shape {theirs.shape}, not one image (3, H, W)")
    if theirs.shape != ours.shape:
        made, expected = (f"{x.shape[1]}×{x.shape[2]}" for x in (theirs, ours))
        raise _unlike(
            processor,
            place,
            f"does not only resize, centre crop, scale, normalise: it makes {made} (height × width) of an "
            f"image of {height}×{width}, where these give {expected}",
        )
    tolerance = _TOLERANCE / min(1.0, *preprocessing.std) * max(1.0, 255 * preprocessing.scale)
    if not np.allclose(theirs, ours, rtol=1e-6, atol=tolerance):
        raise _unlike(processor, place, "does not only resize, centre crop, scale, normalise")


def _untiled(patches: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """(3, H, W) of NaFlex's patches (rows · cols and padding, side · side · 3)."""
    side = math.isqrt(patches.shape[1] // 3)
    tiles = patches[: rows * cols].reshape(rows, cols, side, side, 3)
    return tiles.transpose(4, 0, 2, 1, 3).reshape(3, rows * side, cols * side)


def _unlike(processor: Any, place: str, what: str) -> ModelError:
    """The refusal, with the steps that only this kind of processor has, and the file to mend."""
    keywords = getattr(getattr(processor, "valid_kwargs", None), "__annotations__", {})
    names = [n for n in keywords if n not in ImagesKwargs.__annotations__] + ["do_pad"]
    own = [f"{n}={v}" for n in names if isinstance(v := getattr(processor, n, None), int | float | str) and v]
    remarks = f" Steps of its own: {', '.join(own)}." if own else ""
    if getattr(processor, "backend", "pil") != "pil":
        remarks += f" It runs on {processor.backend} alone, whose resizing differs from PIL's."
    return ModelError(
        f"{type(processor).__name__} of {place} {what}.{remarks}",
        f"Preprocess the images yourself and give tensors to xai.load(module, labels=...), or "
        f"{_otherwise(place)}",
    )


def _otherwise(place: str) -> str:
    return (
        "if the model was trained on plainly resized images, name a processor that does that in "
        f"{place}/preprocessor_config.json: image_processor_type: ViTImageProcessor, with size, image_mean "
        "and image_std."
    )


def _brief(error: Exception) -> str:
    """Its first line: foreign messages can be long."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _name(processor: Any) -> str:
    return type(processor).__name__.removesuffix("Pil").removesuffix("Fast")


def _filter(resample: Any) -> str:
    """Name of the PIL filter; transformers resizes bilinearly where none is named."""
    return Image.Resampling(2 if resample is None else int(resample)).name.lower()


def _channels(value: float | Sequence[float]) -> tuple[float, ...]:
    return (float(value),) * 3 if isinstance(value, int | float) else tuple(value)
