"""Check a model before its maps are trusted."""

from typing import Any

import torch

from xai.attention import (
    Diagnosis,
    UnseenAttentionError,
    check_repeatable,
    diagnose,
    is_checkpointing,
    is_compiled,
    is_traced,
    readout_layer,
)
from xai.explanation.explainer import noise
from xai.models import Classifier


def examine(classifier: Classifier) -> dict[str, Any]:
    """Describe a model and compare its recorded attention with attention computed in the open.

    On one image of seeded noise, sent through the model's own preprocessing. Relative errors: recorded
    attention maps, their gradients, and the logits with and without recording; 0 is perfect.

    Returns:
        JSON-ready: `Classifier.describe()`, `attention`, `gradient_norms` (‖∂y/∂O‖ per layer) and `parity`;
        `running` (modules in training mode, compiled, with activation checkpointing; whether a part is an
        exported or scripted graph; whether two passes answer alike), `batch` (how far an image's logits
        change, relative, with another image beside it; None where a graph holds for one batch size) and
        `methods`, the kinds that work. `attention_seen` counts layers, "6 of 12" where a part of it
        cannot be recorded: then `attention_refused` says why, and `parity` and `gradient_norms` are empty.
        `last_layer_for_the_read_out_only` is "yes" where that saves most of the last layer, "no: …" with the
        reason where it is computed whole.

    Raises:
        ModelError: None of its attention can be recorded, no gradient reaches it, or the model is random or
            in training mode with dropout.
    """
    pixels = noise(classifier)
    logits = check_repeatable(classifier, pixels)
    findings = classifier.describe() | {"running": _running(classifier)}
    gradient = _reaches_pixels(classifier, pixels)
    try:
        diagnosis = diagnose(classifier, pixels)
    except UnseenAttentionError as error:
        if not error.recorded:
            raise
        attention: dict[str, Any] = {
            "layers": error.recorded,
            "heads": [],
            "tokens": classifier.grid.tokens,
            "read_out": None,
        }
        found: dict[str, Any] = {
            "attention": attention,
            "attention_seen": f"{error.recorded} of {error.layers}",
            "attention_refused": f"{error.message} {error.hint or ''}".strip(),
            "gradient_norms": [],
            "parity": {},
        }
    else:
        found = _found(diagnosis)
    last = readout_layer(classifier, pixels)
    return {
        **findings,
        **found,
        "last_layer_for_the_read_out_only": f"no: {last.reason}" if last.block is None else "yes",
        "batch": _batch_change(classifier, pixels, logits),
        "methods": {
            "attention": bool(found["parity"]),
            "pixel_gradients": gradient,
            "perturbation": True,
        },
    }


def _found(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "attention": {
            "layers": diagnosis.probe.layers,
            "heads": list(diagnosis.heads),
            "tokens": diagnosis.probe.grid.tokens,
            "read_out": diagnosis.probe.readout,
        },
        "attention_seen": f"{diagnosis.probe.layers} of {diagnosis.probe.layers}",
        "gradient_norms": list(diagnosis.gradient_norms),
        "parity": {
            "attention": diagnosis.attention_error,
            "gradient": diagnosis.gradient_error,
            "logits": diagnosis.logit_error,
        },
    }


def _running(classifier: Classifier) -> dict[str, Any]:
    module = classifier.module
    return {
        "training": [name or "the model" for name, part in module.named_modules() if part.training],
        "compiled": [name or "the model" for name in is_compiled(module)],
        "checkpointing": [name or "the model" for name in is_checkpointing(module)],
        "graph": is_traced(module),
        "repeatable": True,  # else it was refused
    }


def _reaches_pixels(classifier: Classifier, pixels: torch.Tensor) -> bool:
    with torch.enable_grad():
        return classifier(pixels.clone().requires_grad_()).requires_grad


@torch.no_grad()
def _batch_change(classifier: Classifier, pixels: torch.Tensor, logits: torch.Tensor) -> float | None:
    if is_traced(classifier.module):
        return None
    beside = classifier(torch.cat([pixels, pixels.flip(-1)]))[:1]
    return float((beside - logits).abs().max() / logits.abs().max().clamp_min(1e-12))
