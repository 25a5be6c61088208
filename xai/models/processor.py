"""A Hugging Face image processor's configuration, read into our own preprocessing."""

from typing import Any

import numpy as np
from PIL import Image
from transformers import AutoImageProcessor

from xai.core import ModelError
from xai.models.hub import from_hub
from xai.models.preprocessing import Preprocessing

_PROBES = ((37, 50), (601, 317))  # (width, height); odd, small and large: what the two disagree on shows


def read_preprocessing(place: str, trust_remote_code: bool = False) -> Preprocessing:
    """The preprocessing of the processor at `place` (folder or hub name), on the PIL backend.

    It is compared with the processor itself on two images, so a step that we do not know is not skipped
    silently.

    Raises:
        ModelError: When there is no processor, or it does something else than resize, crop, scale, normalise.
    """
    processor = from_hub(
        AutoImageProcessor.from_pretrained, place, backend="pil", trust_remote_code=trust_remote_code
    )
    preprocessing = _translate(processor, place)
    for width, height in _PROBES:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))
        theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
        ours = preprocessing(image).numpy()
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, atol=1e-4):
            raise ModelError(
                f"{type(processor).__name__} of {place} does not only resize, centre crop, scale, normalise.",
                "Preprocess the images yourself and give tensors to xai.load(module, labels=...).",
            )
    return preprocessing


def _translate(processor: Any, place: str) -> Preprocessing:
    size = dict(processor.size or {}) if processor.do_resize else {}
    size = {key: value for key, value in size.items() if value is not None}
    crop = dict(processor.crop_size or {}) if getattr(processor, "do_center_crop", None) else {}
    if size.keys() not in ({"shortest_edge"}, {"height", "width"}, set()):
        raise ModelError(f"The image processor of {place} resizes by {', '.join(size)}, which is not known.")
    return Preprocessing(
        size=(size["height"], size["width"]) if "height" in size else None,
        shortest_edge=size.get("shortest_edge"),
        crop=(crop["height"], crop["width"]) if crop else None,
        interpolation=Image.Resampling(processor.resample).name.lower(),
        mean=tuple(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
        std=tuple(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
        scale=processor.rescale_factor if processor.do_rescale else 1.0,
    )
