#!/usr/bin/env bash
# Quantus' Local Lipschitz Estimate of one image falls to a fiftieth for a second image in its batch.
#
# Run: bash findings/quantus_local_lipschitz_of_an_image_depends_on_its_company.sh   (exit status 0: as described)
# Versions: quantus 0.6.0, torch 2.13.0 (CPU).
#
# Situation: two images, and a method whose maps of the second are 100 times as large, as gradients of a sure and of
# an unsure answer are. The perturbation is a fixed one. normalise=True is the default.
#
# One would expect: each map is divided by its own largest value, which is what makes maps of any scale comparable.
# The first image's estimate is the same alone and in company. A method whose maps never change has 0 throughout.
#
# What happens: normalise_by_max is called on an array of many maps and divides all by the largest value in it. So
# the first image's maps, divided by the second one's value, differ by next to nothing in company. Where maps are given
# as a_batch, that array is the whole set, but a batch for the maps of perturbed images: with several batches the two
# maps compared are divided by different numbers. A method that ignores the image is then found unstable.
#
# Why it matters: means over a set count the images of large gradients alone, and change with the batch size, the
# order of images and what else is in the set. Given maps of more than 64 images (the default batch) are judged by
# their scale.
#
# Output seen:
#   quantus 0.6.0, torch 2.13.0
#   maps that follow the image: 0.721 alone, 0.013 in company
#   maps that never change, given: 0.00 and 0.00 in one batch, 10.35 and 0.00 in two
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 quantus==0.6.0 numpy==2.3.5

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import numpy as np
import quantus
import torch

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("quantus", "torch")))
SIDE, SCALES = 16, np.array([0.01, 1])
random = np.random.default_rng(0)
images = random.uniform(0.2, 0.8, (2, 1, SIDE, SIDE)).astype(np.float32)
shapes = random.uniform(0.1, 1, images.shape)


class Unmoved(torch.nn.Module):
    """Always says class 0: Quantus leaves out perturbations that change the answer."""

    def forward(self, images):
        return torch.tensor([[1.0, 0.0]]).repeat(len(images), 1)


def explain(inputs, power):
    """A map of a fixed shape and scale for each image, times its pixels to a power."""
    which = [int(np.abs(images - one).mean((1, 2, 3)).argmin()) for one in inputs]
    return SCALES[which].reshape(-1, 1, 1, 1) * shapes[which] * inputs**power


def shifted(arr, indices, **_):
    return arr + np.linspace(0, 0.1, arr.shape[1], dtype=arr.dtype)


def estimates(count, power, given=False, batch_size=64):
    metric = quantus.LocalLipschitzEstimate(
        nr_samples=1, perturb_func=shifted, disable_warnings=True, return_aggregate=False
    )
    return metric(
        model=Unmoved().eval(),
        x_batch=images[:count],
        y_batch=np.zeros(count, int),
        a_batch=explain(images[:count], power) if given else None,
        explain_func=lambda model, inputs, targets: explain(np.asarray(inputs), power),
        batch_size=batch_size,
    )


alone, company = float(estimates(1, 3)[0]), float(estimates(2, 3)[0])
print(f"maps that follow the image: {alone:.3f} alone, {company:.3f} in company")
assert 50 < alone / company < 200, (alone, company)
one_batch, two_batches = ([float(v) for v in estimates(2, 0, True, size)] for size in (2, 1))
shown = [" and ".join(f"{v:.2f}" for v in values) for values in (one_batch, two_batches)]
print(f"maps that never change, given: {shown[0]} in one batch, {shown[1]} in two")
assert max(one_batch) < 1e-9 and two_batches[0] > 1 and two_batches[1] < 1e-9, (one_batch, two_batches)
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
