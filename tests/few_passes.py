"""Options under which costly methods run in a moment."""

OPTIONS = {
    "attention_attribution": {"n_steps": 4},
    "bt_head": {"n_steps": 4},
    "bt_token": {"n_steps": 4},
    "expected_gradients": {"n_samples": 4},
    "guided_integrated_gradients": {"n_steps": 6},
    "gradient_shap": {"n_samples": 4},
    "integrated_gradients": {"n_steps": 4},
    "integrated_gradients_blur": {"n_steps": 4, "kernel": 11, "sigma": 5.0},
    "integrated_mask_gradient": {"n_steps": 4},
    "kernel_shap": {"n_samples": 40},
    "lime": {"n_samples": 40},
    "metric_driven_attribution": {"width": 2, "internal_batch_size": 64},
    "rise": {"n_masks": 8},
    "shapley_value_sampling": {"n_samples": 2},
    "smoothgrad": {"nt_samples": 4},
    "sobol_indices": {"n_designs": 4, "cells": 4},
    "tis": {"n_masks": 16},
    "transition_attention_maps": {"n_steps": 4},
    "vargrad": {"nt_samples": 4},
    "vit_cx": {"max_masks": 8},
}
