"""See every attention call of a forward pass, and which modules make it, without touching the model.

A `TorchFunctionMode` is local to the thread and to its `with` block: no patched class, no changed
configuration; the hooks of `RunningModules` are gone after its block. It sees
`F.scaled_dot_product_attention` and, one level up, `F.multi_head_attention_forward`, which is projected here
so that its fused call is seen too.
"""

import inspect
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai.attention.running import refuse_recomputation
from xai.core import ModelError

# what explains a model whose attention cannot be seen
ALTERNATIVES = (
    "Methods that need no attention work: integrated_gradients, occlusion, rise or lime "
    "(--method integrated_gradients)."
)

_SUBNORMAL = (-160.0, -80.0)  # what a mask adds where it leaves numbers near 1e-44, rather than zeros
_NEGLIGIBLE = (
    30.0  # exp of what lies so far below a row's largest score is 1e-13 of its: no sum of floats shows it
)

_MHA_SIGNATURE = inspect.signature(F.multi_head_attention_forward)
_SDPA_SIGNATURE = inspect.Signature(
    [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("query", "key", "value")]
    + [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in [
            ("attn_mask", None),
            ("dropout_p", 0.0),
            ("is_causal", False),
            ("scale", None),
            ("enable_gqa", False),
        ]
    ]
)


class UnseenAttentionError(ModelError):
    """A part of the attention that reads the image cannot be recorded.

    Args:
        message: What was seen.
        recorded: Attention layers that can be recorded.
        layers: Attention layers that read the image; 0 where they could not be counted.
    """

    def __init__(self, message: str, recorded: int = 0, layers: int = 0, hint: str | None = ALTERNATIVES):
        super().__init__(message, hint)
        self.recorded, self.layers = recorded, layers

    def __reduce__(self) -> Any:
        return type(self), (self.message, self.recorded, self.layers, self.hint)


def refuse_dropped(share: float) -> None:
    """Raise the error of a model in which a share of the attention is dropped at random."""
    raise ModelError(f"The model drops attention at random (dropout_p={share}).", "Call model.eval() first.")


def attention_weights(query: Tensor, key: Tensor, **options: Any) -> Tensor:
    """A = softmax(scale·Q·Kᵀ + mask) of one fused call, (…, N, M), by plain operations and in their graph."""
    scale, mask = options.get("scale"), options.get("attn_mask")
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if options.get("is_causal"):
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def without_traces(mask: Tensor | None, query: Tensor, key: Tensor, scale: float | None) -> Tensor | None:
    """The mask of a fused call, with −∞ where it hides a key but leaves it an A near 1e-44 (Swin's −100).

    Such numbers are subnormal: a processor counts several times slower with them than with zeros. A mask of
    −∞ or of the type's least number leaves none. Where the lengths of queries and keys do not rule out that
    more than what is negligible would be lost, the mask is returned as it is.
    """
    if mask is None or mask.dtype != torch.float32 or mask.device.type != "cpu":
        return mask
    lowest = float(mask.detach().amin())
    if not _SUBNORMAL[0] < lowest < _SUBNORMAL[1]:
        return mask
    factor = query.shape[-1] ** -0.5 if scale is None else abs(scale)
    longest = [float(torch.linalg.vector_norm(x.detach(), dim=-1).amax()) for x in (query, key)]
    # in every row a key scores no less than the row's best entry of the mask less the reach of Q·Kᵀ
    reach = factor * longest[0] * longest[1]
    limit = float(mask.detach().amax(-1).amin()) - 2 * reach - _NEGLIGIBLE
    return F.threshold(mask, limit, -torch.inf) if lowest < limit else mask


class AttentionInterceptor(TorchFunctionMode, ABC):
    """Hands every attention call inside the `with` block to `attend`."""

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Stand in for one fused call: (B, H, N, d), (B, H, M, d), (B, H, M, e) → (B, H, N, e).

        `options` are the call's own: attn_mask, dropout_p, is_causal, scale, enable_gqa.
        """

    def project(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Stand in for a projection inside of `nn.MultiheadAttention`."""
        return F.linear(x, weight, bias)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(**_SDPA_SIGNATURE.bind(*args, **kwargs).arguments)
        if func is F.multi_head_attention_forward:
            bound = _MHA_SIGNATURE.bind(*args, **kwargs)
            bound.apply_defaults()
            return self._multi_head(**bound.arguments)
        return func(*args, **kwargs)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if options.get("dropout_p"):
            refuse_dropped(options["dropout_p"])
        self.check_axes(query)
        return self.attend(query, key, value, **options)

    def check_axes(self, query: Tensor) -> None:
        """Refuse calls of other axes than `attend` takes."""
        if query.dim() != 4:
            raise UnseenAttentionError(
                f"An attention call has shape {tuple(query.shape)}; "
                "(batch, heads, tokens, channels) is expected."
            )

    def _multi_head(self, **call: Any) -> tuple[Tensor, Tensor | None]:
        """`nn.MultiheadAttention` in sequence-first layout: project, attend, project back."""
        query, key, value = call["query"], call["key"], call["value"]
        refused = [n for n in ("bias_k", "bias_v", "static_k", "static_v") if call[n] is not None]
        if refused or call["add_zero_attn"] or query.dim() != 3:
            raise UnseenAttentionError(
                "The model uses nn.MultiheadAttention in a way that cannot be recorded "
                f"({', '.join(refused) or 'add_zero_attn or unbatched input'})."
            )
        queries, batch, width = query.shape
        heads = call["num_heads"]

        def split(x: Tensor) -> Tensor:
            return x.reshape(x.shape[0], batch, heads, -1).permute(1, 2, 0, 3)

        q, k, v = map(split, self._project(query, key, value, call))
        mask = _additive_mask(call, q, k)
        causal = call["is_causal"] and mask is None
        dropout = call["dropout_p"] if call["training"] else 0.0
        out = self._attend(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)
        merged = out.permute(2, 0, 1, 3).reshape(queries, batch, width)
        result = self.project(merged, call["out_proj_weight"], call["out_proj_bias"])
        if not call["need_weights"]:
            return result, None
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        weights = torch.softmax(scores if mask is None else scores + mask, dim=-1)
        return result, weights.mean(1) if call["average_attn_weights"] else weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor, call: dict[str, Any]) -> tuple[Tensor, ...]:
        weight, bias = call["in_proj_weight"], call["in_proj_bias"]
        if key is query and value is query and not call["use_separate_proj_weight"]:
            return self.project(query, weight, bias).chunk(3, dim=-1)
        separate = call["use_separate_proj_weight"]
        weights = [call[f"{n}_proj_weight"] for n in "qkv"] if separate else weight.chunk(3)
        biases = [None] * 3 if bias is None else bias.chunk(3)
        return tuple(
            self.project(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )


class ImageInterceptor(AttentionInterceptor):
    """Hands every call of image attention to `attend_image`; other attention is passed through.

    Args:
        tokens: Number of keys by which image attention is told from other attention.
        images: Number of images in the batch: calls over more or fewer (windows that are folded into the
            batch, texts) are no image attention. None takes every batch.
        differentiates: Whether gradients of the calls will be asked for, so that no call may be made under
            activation checkpointing.
    """

    def __init__(self, tokens: int, images: int | None = None, *, differentiates: bool = False):
        super().__init__()
        self.tokens, self.images, self.differentiates = tokens, images, differentiates
        self.layers = 0

    def attend(self, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        if key.shape[-2] != self.tokens or (self.images is not None and len(query) != self.images):
            return F.scaled_dot_product_attention(query, key, value, **options)
        if self.differentiates:
            refuse_recomputation()
        self.layers += 1
        return self.attend_image(self.layers - 1, query, key, value, **options)

    @abstractmethod
    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        """Stand in for one call of image attention, counted from 0; see `attend`."""

    def check_layers(self, model: Any, expected: int | None) -> None:
        """Make sure, after a pass, that all image attention was met.

        Args:
            model: What ran.
            expected: How many calls a pass of this size makes, from the probe; None asks for one at least.

        Raises:
            ModelError: Fewer or more were met: what was to be recorded or changed was so in part only.
        """
        if expected is None or expected == self.layers:
            return
        raise ModelError(
            f"{type(model).__name__} made {self.layers} image attention calls in this pass, but {expected} "
            "when it was looked at first: it does not run the same way each time.",
            ALTERNATIVES,
        )


def _additive_mask(call: dict[str, Any], q: Tensor, k: Tensor) -> Tensor | None:
    """Both masks of nn.MultiheadAttention (bool: True = hidden) as one additive mask."""
    mask = None
    if call["attn_mask"] is not None:
        mask = _additive(call["attn_mask"], q.dtype)
        mask = mask.reshape(q.shape[0], q.shape[1], *mask.shape[1:]) if mask.dim() == 3 else mask
    if call["key_padding_mask"] is not None:
        padding = _additive(call["key_padding_mask"], q.dtype)[:, None, None, :]
        mask = padding if mask is None else mask + padding
    return mask


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))


@dataclass(frozen=True, eq=False)
class Running:
    """A module that is running, and what it was given."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class RunningModules:
    """Inside its `with` block: the modules of a model that are running.

    Args:
        model: The module that will be called.

    Attributes:
        now: The outermost first.
        tensors: What modules were given and gave so far, in that order; containers as they are.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.now: list[Running] = []
        self.tensors: list[Any] = []
        self._hooks = ExitStack()

    def __enter__(self) -> "RunningModules":
        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.now.append(Running(module, args, kwargs))
            self.tensors.extend((*args, *kwargs.values()))

        def leave(module: nn.Module, args: Any, output: Any) -> None:
            self.now.pop()
            self.tensors.append(output)

        for module in self.model.modules():
            self._hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            self._hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.close()


class Watcher(ImageInterceptor):
    """Writes down, for every image attention call, the modules that were running, the outermost first.

    Args:
        model: The module that will be called.
        tokens: As in `ImageInterceptor`.

    Attributes:
        paths: Per image attention call, in the order of execution.
    """

    def __init__(self, model: nn.Module, tokens: int):
        super().__init__(tokens)
        self.paths: list[list[Running]] = []
        self._running = RunningModules(model)

    def attend_image(self, layer: int, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        self.paths.append(list(self._running.now))
        return F.scaled_dot_product_attention(query, key, value, **options)

    def __enter__(self) -> "Watcher":
        self._running.__enter__()
        return super().__enter__()

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self._running.__exit__()
        super().__exit__(exc_type, exc_val, exc_tb)
