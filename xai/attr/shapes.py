"""Shapes as types: documentation everywhere, checked at every call while the tests run."""

from jaxtyping import Float
from torch import Tensor

Pixels = Float[Tensor, "b channels height width"]
PatchMap = Float[Tensor, "b rows cols"]
PatchMaps = Float[Tensor, "targets b rows cols"]
LayerMaps = Float[Tensor, "targets b layers heads rows cols"]
TokenMap = Float[Tensor, "b tokens"]
Scores = Float[Tensor, "b"]
