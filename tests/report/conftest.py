from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xai.core import Explanation, Geometry, Sample


def _explained(
    maps: dict[str, Any],
    size: tuple[int, int] = (64, 64),
    seen: tuple[float, float, float, float] | None = None,
    logits: tuple[float, ...] = (0.5, 2.0),
    labels: tuple[str, ...] | None = None,
    name: str = "photo.png",
    colour: tuple[int, int, int] = (120, 120, 120),
    **sample: Any,
) -> Explanation:
    """A plain image of `size`, of which the model saw `seen`, with these maps."""
    image = Image.new("RGB", size, colour)
    return Explanation(
        Sample(Path(name).stem, image, Path("folder") / name, **sample),
        labels or tuple(maps),
        np.array(logits, np.float32),
        {label: np.asarray(values, np.float32) for label, values in maps.items()},
        Geometry(size, seen or (0, 0, *size)),
        "gradient_weighted_attention",
        {"layers": "last_4_layers", "clamp": "fused"},
        {"name": "demo", "fingerprint": "3f" * 32},
    )


@pytest.fixture
def explained() -> Callable[..., Explanation]:
    """Builds explanations of a plain grey image."""
    return _explained
