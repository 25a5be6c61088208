#!/usr/bin/env bash
# torchcam's Grad-CAM++ weighs channels by the sum of cubed positive gradients: its alphas are never divided.
#
# Run: bash findings/torchcam_grad_cam_pp_weights_are_cubed_gradients.sh   (exit status 0: as described)
# Versions: torchcam 0.5.0, grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1 (CPU).
#
# Situation: GradCAMpp at the last convolution of a small network, with raw values (normalized=False).
#
# One would expect: the weights that its documentation and arXiv 1710.11063 give, the sum over positions of
# alpha relu(g), where alpha is g^2 divided by (2 g^2 + sum(A) g^3) or a variant of this quotient; so grad-cam has it.
#
# What happens: the division is done in place on alpha[mask], and indexing by a mask makes a copy. What remains is
# alpha = g^2. The map is relu(sum over channels of A times the sum of relu(g)^3), to rounding. Without the
# division a channel counts by the cube of its gradients: one with twice the gradient counts about eight times.
#
# Why it matters: two packages that name the same method and paper give maps of another order of pixels, and papers
# compare with either. SmoothGradCAMpp of the same package divides.
#
# Output seen:
#   torchcam 0.5.0, grad-cam 1.5.7, torchvision 0.29.1, torch 2.14.1
#   torchcam and relu(A x sum of relu(g)^3): equal
#   torchcam and the quotient summed as in its code, and as grad-cam weighs: apart
#   score times 10: torchcam's map grows 1000 times
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 torchcam==0.5.0 grad-cam==1.5.7 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import torch
from pytorch_grad_cam import GradCAMPlusPlus
from torch import nn
from torchcam.methods import GradCAMpp

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("torchcam", "grad-cam", "torchvision", "torch")))
torch.manual_seed(0)
features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.Softplus())
head = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(6 * 16, 5), nn.Tanh(), nn.Linear(5, 3))
model = nn.Sequential(features, head).eval()
image = torch.randn(1, 3, 16, 16)


def by_torchcam(factor):
    with GradCAMpp(model, model[0], input_shape=(3, 16, 16)) as extract:
        (cam,) = extract(1, factor * model(image), normalized=False)
    return cam[0].detach()


activations = features(image)
(gradients,) = torch.autograd.grad(head(activations)[0, 1], activations)
activations, positive = activations.detach(), gradients.relu()


def by_weights(weights):
    return (weights.sum((2, 3), keepdim=True) * activations).sum(1)[0].relu()


def quotient(below):
    return by_weights(gradients**2 / (2 * gradients**2 + below + 1e-8) * positive)


def alike(one, other):
    return bool(torch.allclose(one / one.max(), other / other.max(), atol=1e-3))


theirs, cubes = by_torchcam(1), by_weights(positive**3)
as_coded = quotient((gradients**3 * activations).sum((2, 3), keepdim=True))
other = GradCAMPlusPlus(model, [model[0]])
by_grad_cam = torch.from_numpy(other.get_cam_weights(image, None, None, activations.numpy(), gradients.numpy()))
assert torch.allclose(theirs, cubes, rtol=1e-4)
print("torchcam and relu(A x sum of relu(g)^3): equal")
assert not alike(theirs, as_coded) and not alike(theirs, by_weights(by_grad_cam[..., None, None]))
print("torchcam and the quotient summed as in its code, and as grad-cam weighs: apart")
assert torch.allclose(by_torchcam(10), 1000 * theirs, rtol=1e-3)
print("score times 10: torchcam's map grows 1000 times")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
