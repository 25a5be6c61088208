"""Which attention lies between the image and the logits, whoever computes it, and where its tokens lie.

Interception sees the fused calls of its own thread. The autograd graph of one pass shows all of it: each
fused call and each softmax over a last axis is a node there, also in other threads, in exported or scripted
code, and in attention that a model computes by softmax and matrix products itself. The same graph says which
pixels a token is made of: a model may mirror, turn, crop or shuffle the image before its tower, as
augmentation at test time does; then its attention is sound, but a map of it lies elsewhere in the image.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xai.attention.intercept import ALTERNATIVES, UnseenAttentionError
from xai.core import PatchGrid


@dataclass(frozen=True)
class Unseen:
    """An attention computation that was not recorded.

    Args:
        queries: Number of query rows; None where the graph does not tell.
        keys: Number of keys; None where the graph does not tell.
        fused: Whether it is a fused call, rather than softmax and matrix products.
        batch: Its first axis; None where the graph does not tell.
    """

    queries: int | None
    keys: int | None
    fused: bool
    batch: int | None

    def __str__(self) -> str:
        shape = "of unknown size" if self.queries is None else f"{self.queries}×{self.keys}"
        return shape if self.fused else f"{shape} by softmax and matmul"


class Census(TorchFunctionMode):
    """To be opened around a recorder: remembers where recorded calls stand in the graph.

    Gradients stay on, also where the model switches them off, so that the graph is a whole one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inputs: dict[Any, list[Any]] = {}  # node of an attention output -> nodes of its inputs
        self.values: dict[Any, Tensor] = {}  # node of an attention output -> values, in the graph

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch._C._set_grad_enabled:
            return None if args == (False,) else func(*args, **kwargs)
        output = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention and output.grad_fn is not None:
            given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            self.inputs[output.grad_fn] = [x.grad_fn for x in given]
            self.values[output.grad_fn] = kwargs["value"] if "value" in kwargs else args[2]
        return output

    def unseen(
        self, logits: Tensor, outputs: Sequence[Tensor], grid: PatchGrid, images: int
    ) -> tuple[list[Unseen], set[int]]:
        """Walk the graph from the logits to the pixels.

        Args:
            logits: What the model answered, in the graph.
            outputs: Outputs of the recorded calls, in the order of execution.
            grid: The patch grid.
            images: Number of images given.

        Returns:
            Attention that was not recorded and is no head over the image tokens, and the indices of the
            recorded calls that the logits depend on.
        """
        index = {x.grad_fn: i for i, x in enumerate(outputs) if x.grad_fn is not None}
        leaves = {id(x): i for i, x in enumerate(outputs) if x.grad_fn is None}
        reached: set[int] = set()
        found: list[Unseen] = []
        met: set[Any] = set()
        waiting = [(logits.grad_fn, True)]
        while waiting:
            node, after = waiting.pop(0)
            if node is None or node in met:
                continue
            met.add(node)
            if node in index:
                reached.add(index[node])
                # what lies within a recorded call is known, and what comes before the last is no head
                waiting.extend((following, False) for following in self.inputs.get(node, ()))
                continue
            leaf = leaves.get(id(getattr(node, "variable", None)))
            if leaf is not None:
                reached.add(leaf)
            one = attention_of(node, images)
            if one is not None and not (after and _is_head(one, grid, images)):
                found.append(one)
            inputs = self.inputs.get(node) or [following for following, _ in node.next_functions]
            waiting.extend((following, after) for following in inputs)
        return found, reached

    def first_values(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Values of those recorded calls whose values depend on no other attention."""
        nodes = [x.grad_fn for x in outputs if x.grad_fn in self.values]
        first: list[Tensor] = []
        below: set[Any] = set()  # what was walked already, and leads to no attention
        for node in nodes:
            value = self.values[node]
            if value.grad_fn is not None and self._is_first(value.grad_fn, below):
                first.append(value)
        return first

    def _is_first(self, start: Any, below: set[Any]) -> bool:
        met: set[Any] = set()
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node is None or node in met or node in below:
                continue
            if node in self.inputs:
                return False
            met.add(node)
            waiting.extend(following for following, _ in node.next_functions)
        below |= met
        return True


def attention_of(node: Any, images: int) -> Unseen | None:
    """What a node of the graph attends to, None when it is no attention."""
    name = str(node.name())
    if "ScaledDotProduct" in name:
        query, key = _saved(node, "_saved_query"), _saved(node, "_saved_key")
        if query is None or key is None:
            return Unseen(None, None, True, None)
        return Unseen(query.shape[-2], key.shape[-2], True, len(query))
    if "Softmax" in name and "Log" not in name:
        weights = _saved(node, "_saved_result")
        if weights is None or _saved(node, "_saved_dim") not in (weights.dim() - 1, -1, 2**64 - 1):
            return None
        square = weights.dim() == 3 and weights.shape[-1] == weights.shape[-2]
        folded = weights.dim() == 3 and len(weights) > images and len(weights) % images == 0
        if weights.dim() > 3 or square or folded:  # else routers, gates and classes
            return Unseen(weights.shape[-2], weights.shape[-1], False, len(weights))
        return None
    kernel = any(word in name for word in ("Attn", "Attention", "fMHA"))
    return Unseen(None, None, True, None) if kernel else None


def _saved(node: Any, name: str) -> Any:
    try:
        return getattr(node, name, None)
    except RuntimeError:  # freed already
        return None


def _is_head(one: Unseen, grid: PatchGrid, images: int) -> bool:
    """Whether fewer queries pool the image tokens: a head, which gradients pass through like any other."""
    return (
        one.queries is not None
        and one.keys is not None
        and one.keys in (grid.tokens, grid.patches)
        and one.queries < one.keys
        and one.batch is not None
        and one.batch % images == 0
    )


def describe_unseen(model: nn.Module, recorded: int, unseen: Sequence[Unseen], images: int) -> str:
    """How many layers are seen, and what the others look like."""
    counts = Counter(map(str, unseen))
    shapes = ", ".join(f"{count} × {shape}" for shape, count in sorted(counts.items()))
    windows = any(one.batch and one.fused and one.batch != images for one in unseen)
    folded = "; some run over windows or heads folded into the batch" if windows else ""
    return (
        f"Only {recorded} of {recorded + len(unseen)} attention layers of {type(model).__name__} can be "
        f"recorded. Not seen: {shapes} (queries × keys){folded}.{closed(model)}"
    )


def closed(model: nn.Module) -> str:
    """What hides attention from interception, in words."""
    exported = any(isinstance(m, torch.fx.GraphModule) for m in model.modules())
    scripted = any(isinstance(m, torch.jit.ScriptModule) for m in model.modules())
    if scripted:
        return " A part of it is TorchScript (torch.jit), whose calls cannot be intercepted."
    if exported:
        return " A part of it is an exported graph (torch.export), whose calls cannot be intercepted."
    return ""


def refuse_scripted_attention(model: nn.Module) -> None:
    """TorchScript that attends hides it from both the interception and, once optimised, the graph.

    Raises:
        UnseenAttentionError: A scripted or traced part calls attention or a softmax.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            code = str(getattr(module, "inlined_graph", ""))
            if any(word in code for word in ("scaled_dot_product", "multi_head", "softmax(")):
                raise UnseenAttentionError(
                    f"{name or type(model).__name__} is TorchScript (torch.jit) with attention in it, whose "
                    "calls cannot be intercepted.",
                    hint=f"Give the module that it was made from. {ALTERNATIVES}",
                )
