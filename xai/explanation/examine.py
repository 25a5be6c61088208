"""Check a model before its maps are trusted."""

from typing import Any, get_args

import torch

from xai.attention import (
    Diagnosis,
    check_repeatable,
    diagnose,
    is_checkpointing,
    is_compiled,
    is_traced,
    readout_layer,
)
from xai.attr import find_capabilities
from xai.core import ModelError
from xai.core.catalogue import ModelNeed
from xai.explanation.explainer import choose_method, noise
from xai.models import Classifier


def examine(classifier: Classifier) -> dict[str, Any]:
    """Describe a model, try what it offers to methods, and compare its attention with attention in the open.

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
        reason where it is computed whole. `working_methods` are all that work, `refused` says by what they
        need why the others do not, and `default_method` explains where no method is named.

    Raises:
        ModelError: The model does not answer, or is random or in training mode with dropout.
    """
    pixels = noise(classifier)
    logits = check_repeatable(classifier, pixels)
    findings = classifier.describe() | {"running": _running(classifier)}
    capabilities = find_capabilities(classifier, pixels)
    try:
        found = _found(diagnose(classifier, pixels))
    except ModelError as error:
        recorded, layers = getattr(error, "recorded", 0), getattr(error, "layers", 0)
        found = {
            "attention": {
                "layers": recorded,
                "heads": [],
                "tokens": classifier.grid.tokens,
                "read_out": None,
            },
            "attention_seen": f"{recorded} of {layers}",
            "attention_refused": f"{error.message} {error.hint or ''}".strip(),
            "gradient_norms": [],
            "parity": {},
        }
    refused = {need: capabilities.refusal(need) for need in get_args(ModelNeed)}
    return {
        **findings,
        **found,
        "last_layer_for_the_read_out_only": _last_layer(classifier, pixels),
        "batch": _batch_change(classifier, pixels, logits),
        "methods": {
            "attention": refused["attention"] is None,
            "global_attention": bool(found["parity"]),
            "read_out_token": refused["read_out_token"] is None,
            "feature_map": refused["feature_map"] is None,
            "pixel_gradients": refused["gradients"] is None,
            "perturbation": True,
        },
        "default_method": choose_method(classifier).info.name,
        "working_methods": list(capabilities.methods),
        "refused": {need: error.message for need, error in refused.items() if error is not None},
    }


def _last_layer(classifier: Classifier, pixels: torch.Tensor) -> str:
    last = readout_layer(classifier, pixels)
    return f"no: {last.reason}" if last.block is None else "yes"


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


@torch.no_grad()
def _batch_change(classifier: Classifier, pixels: torch.Tensor, logits: torch.Tensor) -> float | None:
    if is_traced(classifier.module):
        return None
    beside = classifier(torch.cat([pixels, pixels.flip(-1)]))[:1]
    return float((beside - logits).abs().max() / logits.abs().max().clamp_min(1e-12))
