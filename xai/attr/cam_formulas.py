"""How class activation maps weight features by their gradient: once for feature maps and for tokens.

Each takes features F and gradient g = ∂y/∂F of shape (B, cells, D) and gives relevance (B, cells),
with its sign.
"""

import torch
from jaxtyping import Float
from torch import Tensor

Features = Float[Tensor, "b cells d"]
Relevance = Float[Tensor, "b cells"]


def mean_gradient(features: Features, gradient: Features) -> Relevance:
    """Grad-CAM (Selvaraju et al. 2017, eq. 1-2): `Σ_k w_k F_jk`, `w_k = mean_j g_jk`."""
    return (features * gradient.mean(1, keepdim=True)).sum(-1)


def positive_gradient_shares(features: Features, gradient: Features) -> Relevance:
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 19): `Σ_k w_k F_jk`, `w_k = Σ_j α_jk (g_jk)⁺`.

    `α_jk = g_jk² / (2 g_jk² + g_jk³ Σ_a F_ak)`, 0 where the gradient or the denominator is 0.
    """
    # g² cancels from α, so that small gradients do not underflow
    denominator = 2 + gradient * features.sum(1, keepdim=True)
    share = torch.where((gradient != 0) & (denominator != 0), 1 / denominator, 0)
    weights = (share * gradient.clamp_min(0)).sum(1, keepdim=True)
    return (features * weights).sum(-1)


def own_gradient(features: Features, gradient: Features) -> Relevance:
    """HiResCAM (Draelos and Carin 2020, eq. 5): `Σ_k g_jk F_jk`."""
    return (features * gradient).sum(-1)


def own_positive_gradient(features: Features, gradient: Features) -> Relevance:
    """LayerCAM (Jiang et al. 2021): `Σ_k (g_jk)⁺ F_jk`."""
    return (features * gradient.clamp_min(0)).sum(-1)
