"""The attributions: one contract, Captum's, for every method."""

from xai.attr.attention import AttentionRollout, RawAttention
from xai.attr.attention_attribution import AttentionAttribution
from xai.attr.attention_cam import DAAM, AttentionGuidedCAM, GradECLIP
from xai.attr.base import MethodInfo, PatchAttribution
from xai.attr.chefer import Chefer
from xai.attr.gradient import IntegratedGradients, IntegratedGradientsBlur
from xai.attr.gradient_attention import GradientWeightedAttention
from xai.attr.guided_ig import GuidedIntegratedGradients
from xai.attr.information_flow import BTHead, BTToken, TransitionAttentionMaps
from xai.attr.integrated_mask_gradient import IntegratedMaskGradient
from xai.attr.layers import LAYER_PRESETS, resolve_layers
from xai.attr.legrad import LeGrad
from xai.attr.lime_shap import LIME, KernelSHAP, ShapleyValueSampling
from xai.attr.lrp import CPLRP, AttnLRP
from xai.attr.mask_gradient import MaskGradient
from xai.attr.metric_driven import MetricDrivenAttribution
from xai.attr.model_free import CenterPrior, RandomAttribution, SobelEdges, Uniform
from xai.attr.occlusion import FeatureAblation, Occlusion
from xai.attr.pixel_gradient import InputXGradient, Saliency
from xai.attr.recorded_attention import RecordedAttribution, attribute_many
from xai.attr.registry import (
    DEFAULT_PRESET,
    METHODS,
    PRESETS,
    Preset,
    create,
    full_options,
    list_methods,
    preset_of,
    register,
    resolve_method,
)
from xai.attr.rise import RISE
from xai.attr.sampled_gradient import ExpectedGradients, GradientSHAP, SmoothGrad, VarGrad
from xai.attr.sobol_indices import SobolIndices
from xai.attr.tis import TransformerInputSampling
from xai.attr.token_cams import TokenGradCAMPlusPlus, TokenHiResCAM, TokenLayerCAM
from xai.attr.token_grad_cam import TokenGradCAM
from xai.attr.token_transformation import TokenTransformation
from xai.attr.translrp import TransLRP
from xai.attr.vit_cx import ViTCX

__all__ = [
    "CPLRP",
    "DAAM",
    "DEFAULT_PRESET",
    "LAYER_PRESETS",
    "LIME",
    "METHODS",
    "PRESETS",
    "RISE",
    "AttentionAttribution",
    "AttentionGuidedCAM",
    "AttentionRollout",
    "AttnLRP",
    "BTHead",
    "BTToken",
    "CenterPrior",
    "Chefer",
    "ExpectedGradients",
    "FeatureAblation",
    "GradECLIP",
    "GradientSHAP",
    "GradientWeightedAttention",
    "GuidedIntegratedGradients",
    "InputXGradient",
    "IntegratedGradients",
    "IntegratedGradientsBlur",
    "IntegratedMaskGradient",
    "KernelSHAP",
    "LeGrad",
    "MaskGradient",
    "MethodInfo",
    "MetricDrivenAttribution",
    "Occlusion",
    "PatchAttribution",
    "Preset",
    "RandomAttribution",
    "RawAttention",
    "RecordedAttribution",
    "Saliency",
    "ShapleyValueSampling",
    "SmoothGrad",
    "SobelEdges",
    "SobolIndices",
    "TokenGradCAM",
    "TokenGradCAMPlusPlus",
    "TokenHiResCAM",
    "TokenLayerCAM",
    "TokenTransformation",
    "TransLRP",
    "TransformerInputSampling",
    "TransitionAttentionMaps",
    "Uniform",
    "VarGrad",
    "ViTCX",
    "attribute_many",
    "create",
    "full_options",
    "list_methods",
    "preset_of",
    "register",
    "resolve_layers",
    "resolve_method",
]
