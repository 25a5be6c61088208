#!/usr/bin/env bash
# grad-cam's Grad-CAM of a DenseNet, at the layer its README names, multiplies values of two different tensors.
#
# Run: bash findings/densenet_relu_in_place_changes_grad_cams_activations.sh   (exit status 0: as described)
# Versions: grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1 (CPU).
#
# Situation: torchvision's DenseNet-121 in evaluation mode, explained at model.features[-1], its last norm, which
# grad-cam's README names for DenseNets. The same weights in a second module that computes the same function: its
# ReLU behind that norm is not in place. The logits of both are equal, bit for bit.
#
# One would expect: the same map. Grad-CAM is a function of what the layer gives and of the gradient there.
#
# What happens: the forward hook keeps output.cpu().detach(), which on a CPU is the same memory as the output.
# torchvision then calls relu(features, inplace=True), so that the activations are those behind the ReLU, with
# no negative value left, while the gradients are those before it. Their product is Grad-CAM of neither tensor:
# the map differs by more than a tenth of its largest value. Where .cpu() makes
# a copy, as of a tensor on another device, the memory is not shared (not shown here).
#
# Why it matters: DenseNets are widely explained like this (chest X-rays); the same picture and weights are
# explained otherwise after an edit of the model that changes no answer.
#
# Output seen:
#   grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1
#   logits of both modules: equal
#   recorded activations below zero: 0 % with the ReLU in place, 48 % without
#   recorded gradients: equal
#   raw Grad-CAM maps apart by more than a tenth of their largest value
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 grad-cam==1.5.7 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torchvision.models import densenet121

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("grad-cam", "torchvision", "torch")))
torch.manual_seed(0)
model = densenet121(weights=None, num_classes=3).eval()
copy = nn.Sequential(
    model.features, nn.ReLU(inplace=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier
).eval()
image = torch.randn(1, 3, 224, 224)
assert torch.equal(model(image), copy(image))
print("logits of both modules: equal")


def explain(one):
    with GradCAM(one, [model.features[-1]]) as cam:
        cam(image, [ClassifierOutputTarget(1)])
        kept = cam.activations_and_grads
        features, gradient = kept.activations[0].clone(), kept.gradients[0].clone()
    return features, gradient, (gradient.mean((2, 3), keepdim=True) * features).sum(1)


ours, theirs = explain(model), explain(copy)
below = [float((features < 0).float().mean()) for features, _, _ in (ours, theirs)]
assert below[0] == 0 and below[1] > 0.3, below
print(f"recorded activations below zero: {below[0]:.0%} with the ReLU in place, {below[1]:.0%} without".replace("%", " %"))
assert torch.equal(ours[1], theirs[1])
print("recorded gradients: equal")
apart = float((ours[2] - theirs[2]).abs().max() / theirs[2].abs().max())
assert apart > 0.1, apart
print("raw Grad-CAM maps apart by more than a tenth of their largest value")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
