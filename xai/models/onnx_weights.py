"""The weights inside an ONNX graph, under the names of the modules that its nodes were exported from."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xai.core import ModelError, UsageError

Arrays = dict[str, np.ndarray]

_NAMELESS = "onnx::"  # what PyTorch's exporter calls a tensor that it folded or transposed


def require_onnx() -> Any:
    """The package that reads graphs.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UsageError("onnx is not installed.", "pip install 'vit-xai[models]'") from None
    return onnx


def read_onnx_weights(content: bytes, constants: Mapping[str, str] | None = None) -> Arrays:
    """Every initialiser of a graph that PyTorch exported, as the parameter that it was.

    - An initialiser that kept its name is taken as it is.
    - The nameless matrix of a `MatMul` is named by the node (`/encoder/layers.3/mlp/fc1/MatMul` holds
      `encoder.layers.3.mlp.fc1.weight`) and transposed, as `nn.Linear` stores it.
    - A `MatMulInteger` of onnxruntime's dynamic quantisation (`…/MatMul_quant`) likewise: int8 × one scale
      per output, which a node `…/MatMul_quant_scales_mul` reads. The zero points must be 0.

    Args:
        content: The file.
        constants: Node names → parameter names, for other nameless initialisers.

    Returns:
        Arrays of the graph's own type, float32 where they were quantised.

    Raises:
        UsageError: onnx is not installed.
        ModelError: An initialiser is left over, missing or used twice, or a zero point is not 0.
    """
    onnx = require_onnx()
    graph = onnx.load_model_from_string(content).graph
    tensors = _Tensors(graph, onnx.numpy_helper.to_array)
    found: Arrays = {}
    for name, array in _named(graph, tensors, constants or {}):
        if name in found:
            raise ModelError(f"The graph holds {name} twice.")
        found[name] = np.ascontiguousarray(array)
    if tensors.left:
        raise ModelError(f"The graph holds tensors of unknown use: {', '.join(sorted(tensors.left))}.")
    return found


class _Tensors:
    """The initialisers, each given out once."""

    def __init__(self, graph: Any, decode: Any):
        self.left = {tensor.name: tensor for tensor in graph.initializer}
        self._decode = decode

    def take(self, name: str, node: Any) -> np.ndarray:
        if name not in self.left:
            raise ModelError(f"{node.op_type} {node.name} reads {name}, which the graph does not hold.")
        return self._decode(self.left.pop(name))

    def nameless(self, node: Any) -> list[str]:
        return [name for name in node.input if name.startswith(_NAMELESS) and name in self.left]


def _named(graph: Any, tensors: _Tensors, constants: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        weight = f"{_module(node)}.weight"
        if node.op_type == "MatMulInteger":
            yield weight, _dequantised(node, nodes, tensors).T
        elif node.name in constants:
            for name in tensors.nameless(node):
                yield constants[node.name], tensors.take(name, node)
        elif node.op_type == "MatMul":
            for name in tensors.nameless(node):
                yield weight, tensors.take(name, node).T
    for name in [name for name in tensors.left if not name.startswith(_NAMELESS)]:
        yield name, tensors.take(name, None)


def _module(node: Any) -> str:
    return node.name.strip("/").rpartition("/")[0].replace("/", ".")


def _dequantised(node: Any, nodes: Mapping[str, Any], tensors: _Tensors) -> np.ndarray:
    """(inputs, outputs) float32."""
    scaling = nodes.get(f"{node.name}_scales_mul")
    if scaling is None or len(node.input) != 4:
        raise ModelError(f"MatMulInteger {node.name} is not that of a dynamic quantisation by onnxruntime.")
    integers, zeros = tensors.take(node.input[1], node), tensors.take(node.input[3], node)
    if zeros.any():
        raise ModelError(f"MatMulInteger {node.name} has zero points that are not 0.")
    return integers.astype(np.float32) * tensors.take(scaling.input[1], scaling)
