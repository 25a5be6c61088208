"""Check a model before its maps are trusted."""

from typing import Any

import numpy as np
import torch
from PIL import Image

from xai.attention import diagnose
from xai.core import ModelError
from xai.models import Classifier


def examine(classifier: Classifier) -> dict[str, Any]:
    """Describe a model and compare its recorded attention with attention computed in the open.

    On one image of seeded noise, sent through the model's own preprocessing. Relative errors: recorded
    attention maps, their gradients, and the logits with and without recording; 0 is perfect.

    Returns:
        JSON-ready: `Classifier.describe()`, `attention`, `gradient_norms` (‖∂y/∂O‖ per layer) and `parity`.

    Raises:
        ModelError: The model's attention cannot be recorded; the message says what was seen.
    """
    pixels = _noise(classifier)[None].to(classifier.device)
    seen = diagnose(classifier, pixels)
    return {
        **classifier.describe(),
        "attention": {
            "layers": seen.probe.layers,
            "heads": list(seen.heads),
            "tokens": seen.probe.grid.tokens,
            "read_out": seen.probe.readout,
        },
        "gradient_norms": list(seen.gradient_norms),
        "parity": {
            "attention": seen.attention_error,
            "gradient": seen.gradient_error,
            "logits": seen.logit_error,
        },
    }


def _noise(classifier: Classifier) -> torch.Tensor:
    random = np.random.default_rng(0)
    if classifier.preprocessing is not None:
        return classifier.preprocess(Image.fromarray(random.integers(0, 256, (480, 640, 3), np.uint8)))
    if classifier.input_size is None:
        raise ModelError(
            f"{classifier.name} says neither its input size nor its preprocessing.", "Name them in the YAML."
        )
    return torch.from_numpy(random.standard_normal((3, *classifier.input_size)).astype(np.float32))
