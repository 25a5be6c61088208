"""The attributions: one contract, Captum's, for every method."""

from xai.attr.attention import AttentionRollout, RawAttention
from xai.attr.base import METHODS, MethodInfo, PatchAttribution, create, list_methods
from xai.attr.chefer import Chefer
from xai.attr.controls import CenterPrior, RandomAttribution
from xai.attr.gradient import IntegratedGradients
from xai.attr.gradient_attention import GradientWeightedAttention
from xai.attr.layers import LAYER_PRESETS, resolve_layers

__all__ = [
    "LAYER_PRESETS",
    "METHODS",
    "AttentionRollout",
    "CenterPrior",
    "Chefer",
    "GradientWeightedAttention",
    "IntegratedGradients",
    "MethodInfo",
    "PatchAttribution",
    "RandomAttribution",
    "RawAttention",
    "create",
    "list_methods",
    "resolve_layers",
]
