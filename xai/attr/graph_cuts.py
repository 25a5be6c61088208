"""Tensors of a pass through which every path from its result to its input leads."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

Edge = tuple[Any, int]
"""A node of the graph of autograd, and which of its outputs."""


def edge_of(tensor: Tensor) -> Edge | None:
    """Where a tensor stands in the graph, None where it is in none or a leaf."""
    return None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)


def edges_on_every_path(output: Tensor, leaf: Tensor) -> dict[Edge | None, int]:
    """The edges that all paths from an output down to a leaf lead through, with their places from above.

    In the nodes' order from the output downwards no edge leads past such a node.
    """
    reaching: dict[Any, None] = {}  # in order, each after all that it leads to
    for node in _upwards(output.grad_fn):
        if getattr(node, "variable", None) is leaf or any(n in reaching for n, _ in node.next_functions):
            reaching[node] = None
    order = list(reversed(reaching))
    place = {node: i for i, node in enumerate(order)}
    used: dict[Any, set[int]] = {output.grad_fn: {output.output_nr}}
    found: dict[Edge | None, int] = {}
    farthest = 0
    for i, node in enumerate(order):
        if farthest <= i and len(used[node]) == 1:
            found[node, min(used[node])] = i
        for following, number in node.next_functions:
            if following in place:
                used.setdefault(following, set()).add(number)
                farthest = max(farthest, place[following])
    return found


def _upwards(root: Any) -> Iterator[Any]:
    """Every node below a root, each once and after all that it leads to."""
    met = {root}
    stack = [] if root is None else [(root, iter(root.next_functions))]
    while stack:
        node, following = stack[-1]
        for one, _ in following:
            if one is not None and one not in met:
                met.add(one)
                stack.append((one, iter(one.next_functions)))
                break
        else:
            stack.pop()
            yield node
