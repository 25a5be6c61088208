"""The attributions: one contract, Captum's, for every method.

A method is a class and a line below: the class derives from one of these, states what it is in its `info`,
and is entered by `@register`; catalogue, command line and benchmark know it from there.

- `PatchAttribution` (`base`): any method; `_relevance` gives a map per target and image.
- `RecordedAttribution` (`recorded_attention`): the map is a function of attention and its gradients in one
  recorded forward pass, which all such methods share; `_tokens`, and `_heads` for maps per layer and head.
- `BlockAttribution` (`transformer_blocks`): it looks at what enters or leaves the model's blocks.
- `PixelGradient` (`pixel_gradient`): values per pixel, summed over patches; `_fine`. `SampledGradient`
  (`sampled_gradient`) averages such gradients over points drawn at random.
- `RemovalAttribution` (`removal`): it removes patches by an operator and watches the score;
  `_scores_without`.
- `GradientFeatureCAM` (`feature_cams`): another way to combine a feature map and its gradient, in any model
  that has one; `_combine`. `FeatureCAM` without the gradient; `_cells`.
- `TokenGradCAM` (`token_grad_cam`): another way to combine tokens and their gradient; `_combine`.
"""

from xai.attr.attention import AttentionRollout as AttentionRollout
from xai.attr.attention import RawAttention as RawAttention
from xai.attr.attention_attribution import AttentionAttribution as AttentionAttribution
from xai.attr.attention_cam import DAAM as DAAM
from xai.attr.attention_cam import AttentionGuidedCAM as AttentionGuidedCAM
from xai.attr.attention_cam import GradECLIP as GradECLIP
from xai.attr.base import MethodInfo as MethodInfo
from xai.attr.base import PatchAttribution as PatchAttribution
from xai.attr.caap import CausalActivationPatching as CausalActivationPatching
from xai.attr.capabilities import Capabilities as Capabilities
from xai.attr.capabilities import check_need as check_need
from xai.attr.capabilities import find_capabilities as find_capabilities
from xai.attr.chefer import Chefer as Chefer
from xai.attr.feature_cams import GradCAM as GradCAM
from xai.attr.feature_cams import GradCAMPlusPlus as GradCAMPlusPlus
from xai.attr.feature_cams import HiResCAM as HiResCAM
from xai.attr.feature_cams import LayerCAM as LayerCAM
from xai.attr.fullgrad import FullGradPlus as FullGradPlus
from xai.attr.gradient import IntegratedGradients as IntegratedGradients
from xai.attr.gradient import IntegratedGradientsBlur as IntegratedGradientsBlur
from xai.attr.gradient_attention import GradientWeightedAttention as GradientWeightedAttention
from xai.attr.guided_ig import GuidedIntegratedGradients as GuidedIntegratedGradients
from xai.attr.information_flow import BTHead as BTHead
from xai.attr.information_flow import BTToken as BTToken
from xai.attr.information_flow import TransitionAttentionMaps as TransitionAttentionMaps
from xai.attr.integrated_mask_gradient import IntegratedMaskGradient as IntegratedMaskGradient
from xai.attr.layers import LAYER_PRESETS as LAYER_PRESETS
from xai.attr.layers import resolve_layers as resolve_layers
from xai.attr.layers import stack_layers as stack_layers
from xai.attr.legrad import LeGrad as LeGrad
from xai.attr.libra import libra_rules as libra_rules
from xai.attr.lime_shap import LIME as LIME
from xai.attr.lime_shap import KernelSHAP as KernelSHAP
from xai.attr.lime_shap import ShapleyValueSampling as ShapleyValueSampling
from xai.attr.lrp import CPLRP as CPLRP
from xai.attr.lrp import AttnLRP as AttnLRP
from xai.attr.mask_gradient import MaskGradient as MaskGradient
from xai.attr.metric_driven import MetricDrivenAttribution as MetricDrivenAttribution
from xai.attr.model_free import CenterPrior as CenterPrior
from xai.attr.model_free import RandomAttribution as RandomAttribution
from xai.attr.model_free import SobelEdges as SobelEdges
from xai.attr.model_free import Uniform as Uniform
from xai.attr.occlusion import FeatureAblation as FeatureAblation
from xai.attr.occlusion import Occlusion as Occlusion
from xai.attr.pixel_gradient import InputXGradient as InputXGradient
from xai.attr.pixel_gradient import Saliency as Saliency
from xai.attr.recorded_attention import RecordedAttribution as RecordedAttribution
from xai.attr.recorded_attention import attribute_many as attribute_many
from xai.attr.registry import COMPARED as COMPARED
from xai.attr.registry import DEFAULT_PRESET as DEFAULT_PRESET
from xai.attr.registry import DEFAULTS as DEFAULTS
from xai.attr.registry import METHODS as METHODS
from xai.attr.registry import OPTIONS_METHOD as OPTIONS_METHOD
from xai.attr.registry import PRESETS as PRESETS
from xai.attr.registry import Preset as Preset
from xai.attr.registry import create as create
from xai.attr.registry import full_options as full_options
from xai.attr.registry import list_methods as list_methods
from xai.attr.registry import preset_of as preset_of
from xai.attr.registry import register as register
from xai.attr.registry import resolve_method as resolve_method
from xai.attr.rise import RISE as RISE
from xai.attr.sampled_gradient import ExpectedGradients as ExpectedGradients
from xai.attr.sampled_gradient import GradientSHAP as GradientSHAP
from xai.attr.sampled_gradient import SmoothGrad as SmoothGrad
from xai.attr.sampled_gradient import VarGrad as VarGrad
from xai.attr.score_cam import EigenCAM as EigenCAM
from xai.attr.score_cam import ScoreCAM as ScoreCAM
from xai.attr.sobol_indices import SobolIndices as SobolIndices
from xai.attr.tis import TransformerInputSampling as TransformerInputSampling
from xai.attr.token_cams import TokenGradCAMPlusPlus as TokenGradCAMPlusPlus
from xai.attr.token_cams import TokenHiResCAM as TokenHiResCAM
from xai.attr.token_cams import TokenLayerCAM as TokenLayerCAM
from xai.attr.token_grad_cam import TokenGradCAM as TokenGradCAM
from xai.attr.token_transformation import TokenTransformation as TokenTransformation
from xai.attr.translrp import TransLRP as TransLRP
from xai.attr.vit_cx import ViTCX as ViTCX
