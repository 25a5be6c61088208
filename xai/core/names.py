"""Registry names in words, as pages say them: the one place that knows how a name is read.

A name that is not listed, such as that of somebody's own method, is read with spaces for its underscores.
Proper names are the same in every language and are not marked for translators.
"""

from xai.core.language import gettext, gettext_noop

METHODS = {
    "raw_attention": gettext_noop("raw attention"),
    "attention_rollout": gettext_noop("attention rollout"),
    "gradient_weighted_attention": gettext_noop("gradient-weighted attention"),
    "attention_attribution": gettext_noop("attention attribution"),
    "attention_guided_cam": "Attention-Guided CAM",
    "grad_eclip": "Grad-ECLIP",
    "daam": gettext_noop("dynamic accumulated attention map"),
    "caap": gettext_noop("causal activation patching"),
    "chefer": gettext_noop("Chefer's rollout"),
    "grad_cam": "Grad-CAM",
    "hires_cam": "HiResCAM",
    "layer_cam": "LayerCAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "fullgrad_plus": "FullGrad+",
    "integrated_gradients": gettext_noop("integrated gradients"),
    "integrated_gradients_blur": gettext_noop("integrated gradients from blur"),
    "saliency": gettext_noop("gradient magnitude (saliency)"),
    "input_x_gradient": gettext_noop("input × gradient"),
    "guided_integrated_gradients": gettext_noop("guided integrated gradients"),
    "transition_attention_maps": gettext_noop("transition attention maps"),
    "bt_head": gettext_noop("Beyond Intuition, by head"),
    "bt_token": gettext_noop("Beyond Intuition, by token"),
    "mask_gradient": gettext_noop("mask gradient"),
    "integrated_mask_gradient": gettext_noop("integrated mask gradient"),
    "legrad": "LeGrad",
    "shapley_value_sampling": gettext_noop("Shapley value sampling"),
    "kernel_shap": "KernelSHAP",
    "lime": "LIME",
    "attn_lrp": "AttnLRP",
    "cp_lrp": "CP-LRP",
    "occlusion": gettext_noop("occlusion"),
    "feature_ablation": gettext_noop("feature ablation"),
    "metric_driven_attribution": gettext_noop("metric-driven attribution"),
    "random": gettext_noop("random maps"),
    "center_prior": gettext_noop("centre of the image"),
    "uniform": gettext_noop("even map"),
    "sobel": gettext_noop("edges (Sobel)"),
    "rise": "RISE",
    "smoothgrad": "SmoothGrad",
    "vargrad": "VarGrad",
    "expected_gradients": gettext_noop("expected gradients"),
    "gradient_shap": "GradientSHAP",
    "score_cam": "Score-CAM",
    "eigen_cam": "Eigen-CAM",
    "sobol_indices": gettext_noop("Sobol indices"),
    "tis": "Transformer Input Sampling",
    "token_grad_cam": gettext_noop("Grad-CAM of tokens"),
    "token_grad_cam_plusplus": gettext_noop("Grad-CAM++ of tokens"),
    "token_hires_cam": gettext_noop("HiResCAM of tokens"),
    "token_layer_cam": gettext_noop("LayerCAM of tokens"),
    "token_transformation": gettext_noop("token transformation"),
    "translrp": "TransLRP",
    "vit_cx": "ViT-CX",
}
CONTROLS = {
    "raw_last_layer": gettext_noop("raw attention, last layer"),
    "greedy": gettext_noop("greedy order"),
}
"""Rows of every benchmark that are named unlike their method."""

METRICS = {
    "infidelity": gettext_noop("infidelity"),
    "sensitivity_max": gettext_noop("max-sensitivity"),
    "faithfulness_correlation": gettext_noop("faithfulness correlation"),
    "deletion": gettext_noop("deletion"),
    "morf": gettext_noop("most relevant first (MoRF)"),
    "lerf": gettext_noop("least relevant first (LeRF)"),
    "insertion": gettext_noop("insertion"),
    "srg": "SRG",
    "comprehensiveness": gettext_noop("comprehensiveness"),
    "accuracy_drop": gettext_noop("drop of accuracy"),
    "sufficiency": gettext_noop("sufficiency"),
    "pointing_game": gettext_noop("pointing game"),
    "pointing_game_clicks": gettext_noop("pointing game, at clicks"),
    "mass_accuracy": gettext_noop("relevance mass accuracy"),
    "rank_accuracy": gettext_noop("relevance rank accuracy"),
    "iou": gettext_noop("overlap with the mask (IoU)"),
    "average_precision": gettext_noop("average precision"),
    "class_sensitivity": gettext_noop("class sensitivity"),
    "randomization": gettext_noop("randomised model"),
    "unrelated_agreement": gettext_noop("agreement with other images"),
    "robustness_jpeg": gettext_noop("stability under JPEG"),
    "robustness_resize": gettext_noop("stability under resizing"),
    "robustness_noise": gettext_noop("stability under grain"),
    "saco": "SaCo",
    "gini": gettext_noop("Gini index"),
    "entropy": gettext_noop("entropy"),
}
UNITS = {
    "patch": gettext_noop("patches {removed}"),
    "pixel": gettext_noop("pixels {removed}"),
    "segment": gettext_noop("segments {removed}"),
}
OPERATORS = {
    "token": gettext_noop("dropped"),
    "mean": gettext_noop("in the mean colour"),
    "region_mean": gettext_noop("in their own mean colour"),
    "minimum": gettext_noop("in the smallest value"),
    "constant": gettext_noop("in one colour"),
    "blur": gettext_noop("blurred"),
    "rise_blur": gettext_noop("blurred"),
    "noise": gettext_noop("replaced by noise"),
    "road": gettext_noop("filled in from neighbours"),
    "attack": gettext_noop("attacked"),
    "adversarial": gettext_noop("attacked once"),
}


def method_in_words(name: str) -> str:
    """A method's registry name as it is read: `attn_lrp` is "AttnLRP"."""
    return _in_words(name, METHODS)


def row_in_words(name: str, method: str) -> str:
    """A row of a benchmark as it is read: its method, and in brackets what its own name adds to it.

    Args:
        name: Of the row; often the method's.
        method: Registry name.
    """
    if name in CONTROLS:
        return gettext(CONTROLS[name])
    words = method_in_words(method)
    if name == method or not method:
        return words if method else method_in_words(name)
    own = name.removeprefix(f"{method}_").replace("_", " ").strip()
    return gettext("{method} ({name})", method=words, name=own or name)


def metric_in_words(name: str) -> str:
    """A metric's registry name as it is read."""
    return _in_words(name, METRICS)


def removal_in_words(unit: str, operator: str) -> str:
    """How a protocol takes evidence away: "patches dropped".

    Args:
        unit: "patch", "pixel" or "segment".
        operator: Registry name.
    """
    removed = gettext(OPERATORS[operator]) if operator in OPERATORS else operator.replace("_", " ")
    return gettext(UNITS[unit], removed=removed)


def _in_words(name: str, known: dict[str, str]) -> str:
    return gettext(known[name]) if name in known else name.replace("_", " ")
