"""Detectors on disk as people publish them, and comparison with the original."""

from pathlib import Path
from typing import Any

import tiny_models as tiny
import torch
from torch import nn

import xai


def write(folder: Path, state: dict[str, Any], *lines: str, suffix: str = ".pth") -> Path:
    """Weights and a YAML file beside them; 32 px bench preprocessing unless the lines say otherwise."""
    torch.save(state, folder / f"weights{suffix}")
    path = folder / "detector.yaml"
    path.write_text("\n".join([f"weights: weights{suffix}", *lines]))
    return path


def assert_equal(classifier: xai.Classifier, reference: nn.Module, tolerance: float = 1e-5) -> None:
    x = tiny.pixels(3)
    with torch.no_grad():
        expected = reference(x)
        got = classifier(x)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())
