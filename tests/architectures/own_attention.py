"""Attention as a library computes it itself, in the open: what recorded attention is compared with.

Three ways, of which a model needs one: modules of transformers hand A out (`output_attentions`); timm's send
A through a module `attn_drop`; `torch.nn.MultiheadAttention` returns A where it is asked for its weights.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from architectures.architecture import Architecture
from xai.attention import attention_rows, gradient_rows
from xai.attr import create
from xai.attr.recorded_attention import RecordedAttribution, record_pass
from xai.models import Classifier

Pair = tuple[Tensor, Tensor | None]
"""A, and A ⊙ ∂y/∂A where the library keeps A in its graph."""
_ALIKE = 1e-3  # relative; maps of two layers of one shape are further apart


@contextmanager
def unfused() -> Iterator[None]:
    """Inside the block models of timm, which other libraries use too, are built without the fused call."""
    try:
        from timm.layers import set_fused_attn, use_fused_attn
    except ImportError:
        yield
        return
    before = use_fused_attn()
    set_fused_attn(False)
    try:
        yield
    finally:
        set_fused_attn(bool(before))


def own_attention(one: Architecture, folder: Path, pixels: Tensor, target: int) -> list[Pair]:
    """Of every attention that the library shows, in the order of execution; of the target's logit."""
    with unfused():
        classifier = one.load(folder)
    seen: list[Tensor] = []

    def handed_out(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, tuple):
            seen.extend(a for a in output if _is_attention(a) and all(a is not b for b in seen))

    def dropped(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        seen.append(args[0])

    def ask(module: nn.Module, args: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, options | {"need_weights": True, "average_attn_weights": False}

    def returned(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        seen.append(output[1])

    for module in classifier.module.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"
            config.output_attentions = config.model_type != "timm_wrapper"  # it has no such option
    with ExitStack() as hooks:
        for name, module in classifier.module.named_modules():
            if isinstance(module, nn.MultiheadAttention):
                hooks.callback(module.register_forward_pre_hook(ask, with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(returned).remove)
            elif name.endswith("attn_drop"):
                hooks.callback(module.register_forward_pre_hook(dropped).remove)
            elif one.library == "huggingface":
                hooks.callback(module.register_forward_hook(handed_out).remove)
        for parameter in classifier.parameters():
            parameter.requires_grad_(True)
        with torch.enable_grad():
            y = classifier(pixels)[:, target].sum()
    kept = [a for a in seen if a.requires_grad]
    found = iter(torch.autograd.grad(y, kept, allow_unused=True) if kept else ())
    gradients = [next(found) if a.requires_grad else None for a in seen]
    return [
        (a.detach(), None if g is None else (a * g).detach()) for a, g in zip(seen, gradients, strict=True)
    ]


def recorded_attention(classifier: Classifier, pixels: Tensor, target: int) -> list[tuple[Tensor, Tensor]]:
    """A and A ⊙ ∂y/∂A of every layer that gradient-weighted attention reads."""
    method = create(
        "gradient_weighted_attention", classifier, layers="all_layers", rows="all", clamp="heads"
    )  # clamping heads asks for every entry
    assert isinstance(method, RecordedAttribution)
    with method._attributing(pixels, None) as (given, args):
        record = record_pass([method], given, [target], args)
        found = []
        for layer, call in record.calls.items():
            a = attention_rows(call, slice(None)).detach()
            found.append((a, (a * gradient_rows(call, record.gradients[layer][0], slice(None))).detach()))
    return found


def compare(recorded: list[tuple[Tensor, Tensor]], own: list[Pair]) -> dict[str, Any]:
    """The library's layers beside the recorded ones, in order: of those of one shape the first that is alike.

    Returns:
        `layers` recorded, `compared` of them, `weighted` of these also with their gradient, and `error`: the
        largest difference relative to the largest entry.
    """
    found: dict[str, Any] = {"layers": len(recorded), "compared": 0, "weighted": 0, "error": 0.0}
    start = 0
    for own_map, own_product in own:
        errors = {
            i: _error(recorded[i][0], own_map)
            for i in range(start, len(recorded))
            if recorded[i][0].numel() == own_map.numel()
        }
        if not errors:
            continue
        at = next((i for i, error in errors.items() if error < _ALIKE), min(errors))
        start = at + 1
        found["compared"] += 1
        found["error"] = max(found["error"], errors[at])
        if own_product is not None:
            found["weighted"] += 1
            found["error"] = max(found["error"], _error(recorded[at][1], own_product))
    return found


def _is_attention(x: Any) -> bool:
    """Whether rows of at least four axes are shares of one."""
    if not isinstance(x, Tensor) or x.ndim < 4 or not x.is_floating_point():
        return False
    return bool((x >= 0).all()) and bool(((x.sum(-1) - 1).abs() < 1e-3).all())


def _error(a: Tensor, b: Tensor) -> float:
    return float((a.flatten() - b.flatten()).abs().max() / b.abs().max().clamp_min(1e-30))
