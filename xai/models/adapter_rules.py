"""What each kind of PEFT adapter makes of a weight: equations on tensors, whichever library holds them.

LoRA (Hu et al. 2021, arXiv 2106.09685): W + s·B·A, with s = α/r, or α/√r for rsLoRA (Kalajdzievski 2023,
arXiv 2312.03732). DoRA (Liu et al. 2024, arXiv 2402.09353): m · V / ‖V‖ by rows, with V = W + s·B·A.
LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098): W + s · (A₁·B₁) ⊙ (A₂·B₂). LoKr (Yeh et al. 2023, arXiv
2309.14859): W + s · K₁ ⊗ K₂. IA³ (Liu et al. 2022, arXiv 2205.05638): W and bias, or what W reads, times l.
All are summed in float64, so that folding costs no accuracy that the parts had.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from xai.core import ModelError

Parts = Mapping[str, Tensor]
"""Tensors of one adapter on one module by their names in PEFT: "lora_A", "lora_B.bias", "hada_w1_a" …"""


@dataclass(frozen=True)
class AdaptedLayer:
    """Weight and bias of one module.

    Args:
        name: For messages.
        weight: (out, in), (out, in / groups, …) of a convolution, (numbers, width) of an embedding.
        bias: (out,), None without.
        transposed: Whether the weight is (in, out), as in Conv1D of transformers.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    transposed: bool = False


def kind_of(parts: Parts) -> str:
    """One of "lora", "dora", "loha", "lokr", "ia3", "ln_tuning".

    Raises:
        ModelError: Of none of them.
    """
    names = {part.partition(".")[0] for part in parts}
    if names == {"lora_A", "lora_B"} or names == {"lora_embedding_A", "lora_embedding_B"}:
        return "lora"
    if names == {"lora_A", "lora_B", "lora_magnitude_vector"}:
        return "dora"
    if {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= names:
        return "loha"
    if names and all(name.startswith("lokr_") for name in names):
        return "lokr"
    if names == {"ia3_l"}:
        return "ia3"
    if names == {"ln_tuning_layers"}:
        return "ln_tuning"
    raise ModelError(f"An adapter of an unknown kind has the weights {', '.join(sorted(parts))}.", MERGE)


MERGE = (
    "Merge it into its model first, peft: PeftModel.from_pretrained(model, folder).merge_and_unload(), "
    "and save the merged weights."
)


def rank_of(parts: Parts) -> int | None:
    """The rank that the shapes show; None where the kind has none, or no factor shows it."""
    for part, axis in (
        ("lora_A", 0), ("lora_embedding_A", 0), ("hada_t1", 0), ("hada_w1_b", 0),
        ("lokr_t2", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0),
    ):  # fmt: skip
        if part in parts:
            return parts[part].shape[axis]
    return None


def is_idle(parts: Parts) -> bool:
    """Whether LoRA changes nothing, as at the start of training: B is zero."""
    factor = parts.get("lora_B", parts.get("lora_embedding_A"))
    return factor is not None and "lora_magnitude_vector" not in parts and not factor.any()


def adapted(layer: AdaptedLayer, parts: Parts, scale: float) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a module with an adapter folded in, in the types that they had.

    Args:
        layer: The module.
        parts: The adapter.
        scale: s above; unused by IA³ and LN-tuning.

    Raises:
        ModelError: When shapes do not fit each other, or the result would be no plain layer.
    """
    kind = kind_of(parts)
    parts = {name: value.double() for name, value in parts.items()}
    if kind == "ln_tuning":
        weight, bias = parts["ln_tuning_layers.weight"], parts.get("ln_tuning_layers.bias")
    elif kind == "ia3":
        weight, bias = _scaled(layer, parts["ia3_l"])
    else:
        weight, bias = layer.weight.double(), layer.bias
        change = _change(layer, parts, kind) * scale
        weight = weight + (change.T if layer.transposed else change)
        if kind == "dora":
            weight = _magnified(layer, weight, parts["lora_magnitude_vector"])
        if "lora_B.bias" in parts:
            bias = _moved(layer, parts["lora_B.bias"] * scale, kind)
    if layer.bias is None or bias is None:
        return weight.to(layer.weight.dtype), None if bias is None else bias.to(layer.weight.dtype)
    return weight.to(layer.weight.dtype), bias.to(layer.bias.dtype)


def _change(layer: AdaptedLayer, parts: Parts, kind: str) -> Tensor:
    """What is added to the weight, before it is scaled, (out, …)."""
    shape = tuple(layer.weight.shape[::-1] if layer.transposed else layer.weight.shape)
    if kind == "loha":
        return _loha(layer, parts, shape)
    if kind == "lokr":
        return _lokr(layer, parts, shape)
    if "lora_embedding_A" in parts:
        down, up = parts["lora_embedding_A"], parts["lora_embedding_B"]
        if down.ndim != 2 or up.ndim != 2 or shape != (down.shape[1], up.shape[0]):
            raise _misfit(layer, parts)
        return (up @ down).T
    down, up = parts["lora_A"], parts["lora_B"]
    fits = down.ndim == up.ndim == len(shape) > 1 and down.shape[1:] == shape[1:]
    # B of a convolution with groups reads a share of A's channels
    if not fits or up.shape != (shape[0], len(down), *[1] * (len(shape) - 2)):
        raise _misfit(layer, parts)
    return (up.flatten(1) @ down.flatten(1)).reshape(shape)


def _loha(layer: AdaptedLayer, parts: Parts, shape: tuple[int, ...]) -> Tensor:
    factors = []
    for number in "12":
        first, second = parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"]
        core = parts.get(f"hada_t{number}")
        if core is not None:
            factors.append(_tucker(layer, parts, core, first, second, shape))
            continue
        fits = first.ndim == second.ndim == 2 and first.shape[1] == len(second)
        if not fits or (len(first), second.shape[1]) != (shape[0], _product(shape[1:])):
            raise _misfit(layer, parts)
        factors.append((first @ second).reshape(shape))
    return factors[0] * factors[1]


def _lokr(layer: AdaptedLayer, parts: Parts, shape: tuple[int, ...]) -> Tensor:
    outer, inner = (_lokr_factor(layer, parts, number) for number in "12")
    if outer.ndim != 2 or inner.ndim < 2:
        raise _misfit(layer, parts)
    sizes = (len(outer) * len(inner), outer.shape[1] * _product(inner.shape[1:]))
    if sizes != (shape[0], _product(shape[1:])):
        raise _misfit(layer, parts)
    outer = outer.reshape(*outer.shape, *[1] * (inner.ndim - 2))
    return torch.kron(outer, inner.contiguous()).reshape(shape)


def _lokr_factor(layer: AdaptedLayer, parts: Parts, number: str) -> Tensor:
    whole, core = parts.get(f"lokr_w{number}"), parts.get(f"lokr_t{number}")
    if whole is not None:
        return whole
    first, second = parts.get(f"lokr_w{number}_a"), parts.get(f"lokr_w{number}_b")
    if first is None or second is None or first.ndim != 2 or second.ndim != 2:
        raise _misfit(layer, parts)
    if core is not None:
        return _tucker(layer, parts, core, first, second, None)
    if first.shape[1] != len(second) or len(first) * second.shape[1] > layer.weight.numel():
        raise _misfit(layer, parts)
    return first @ second


def _tucker(
    layer: AdaptedLayer,
    parts: Parts,
    core: Tensor,
    first: Tensor,
    second: Tensor,
    shape: tuple[int, ...] | None,
) -> Tensor:
    """Σ core[i, j, k, l] · second[j, in] · first[i, out], (out, in, k, l)."""
    fits = core.ndim == 4 and first.ndim == second.ndim == 2 and core.shape[:2] == (len(first), len(second))
    made = (first.shape[-1], second.shape[-1], *core.shape[2:])
    if not fits or _product(made) > layer.weight.numel() or (shape and _product(made) != _product(shape)):
        raise _misfit(layer, parts)
    whole = torch.einsum("ijkl,jr,ip->prkl", core, second, first)
    return whole if shape is None else whole.reshape(shape)


def _magnified(layer: AdaptedLayer, weight: Tensor, magnitude: Tensor) -> Tensor:
    rows = weight.T if layer.transposed else weight
    if magnitude.numel() != len(rows):
        raise _misfit(layer, {"lora_magnitude_vector": magnitude})
    share = magnitude.flatten() / rows.flatten(1).norm(dim=1)
    rows = rows * share.reshape(-1, *[1] * (rows.ndim - 1))
    return rows.T if layer.transposed else rows


def _moved(layer: AdaptedLayer, step: Tensor, kind: str) -> Tensor:
    if layer.bias is None or kind == "dora":
        raise ModelError(
            f"The adapter of {layer.name} has a bias of its own (lora_bias), "
            + ("which DoRA does not fold." if kind == "dora" else "but the layer has none to fold it into."),
            "Give the module itself to xai.load, merged by peft: model.merge_and_unload().",
        )
    return layer.bias.double() + step


def _scaled(layer: AdaptedLayer, factor: Tensor) -> tuple[Tensor, Tensor | None]:
    """IA³: l is (out, 1) or, of what the layer reads, (1, in); (1, width, 1, 1) of a convolution."""
    weight, bias = layer.weight.double(), layer.bias
    if weight.ndim == 2:
        rows = weight.T if layer.transposed else weight
        if factor.shape not in ((len(rows), 1), (1, rows.shape[1])):
            raise _misfit(layer, {"ia3_l": factor})
        rows, of_output = rows * factor, factor.shape == (len(rows), 1)
        weight = rows.T if layer.transposed else rows
    else:
        outputs, inputs = weight.shape[:2]
        if factor.numel() not in (outputs, inputs) or outputs == inputs:
            raise _misfit(layer, {"ia3_l": factor})
        of_output = factor.numel() == outputs
        ones = [1] * (weight.ndim - 2)
        weight = weight * factor.reshape(*((-1, 1) if of_output else (1, -1)), *ones)
    return weight, bias.double() * factor.flatten() if of_output and bias is not None else bias


def _product(sizes: tuple[int, ...] | torch.Size) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _misfit(layer: AdaptedLayer, parts: Parts) -> ModelError:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in sorted(parts.items()))
    return ModelError(
        f"The adapter of {layer.name} {tuple(layer.weight.shape)} does not fit it, or is of a form that is "
        f"not folded here: {shapes}.",
        f"Check that the base is the model it was trained on. {MERGE}",
    )
