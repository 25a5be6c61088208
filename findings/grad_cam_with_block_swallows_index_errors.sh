#!/usr/bin/env bash
# grad-cam's `with` block swallows every IndexError, so that a map of the class before goes on under the name of another.
#
# Run: bash findings/grad_cam_with_block_swallows_index_errors.sh   (exit status 0: as described; needs about a gigabyte)
# Versions: grad-cam 1.5.7, torch 2.14.1, torchvision 0.29.1.
#
# Situation: a network with two classes is explained in a loop over three names that a file of labels gives, each in a block
# `with GradCAM(...) as cam`, as grad-cam's own examples open it. The third name has no logit. In a second block the caller's own
# code looks for an entry behind the end of a list; in a third it raises a KeyError.
#
# One would expect: an IndexError ends the loop, as any error does that leaves a `with` block, so that nobody draws a map of a
# class which the network does not have.
#
# What happens: the block's end prints one line and tells Python that the error is dealt with, whoever raised it. The lines left in
# the block are skipped and the program goes on behind it, where the variable still holds the map of the second class: the third
# is a copy of it. The caller's own IndexError, which has nothing to do with the library, goes the same way; a KeyError does not.
#
# Why it matters: a script over many images writes a picture for every name and ends with status 0. `except IndexError` around the
# block never runs.
#
# Output seen:
#   grad-cam 1.5.7, torch 2.14.1
#   errors that left the block: none
#   map of the third class, of two: the second's, entry for entry
#   the caller's own IndexError: gone; code after it in the block: skipped; KeyError: raised
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 grad-cam==1.5.7 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from contextlib import redirect_stdout
from importlib.metadata import version
from io import StringIO

import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

print(", ".join(f"{name} {version(name).partition('+')[0]}" for name in ("grad-cam", "torch")))
torch.manual_seed(0)
layer = nn.Conv2d(3, 8, 3, padding=1)
model = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()
image = torch.randn(1, 3, 32, 32)

maps, left = {}, []
with redirect_stdout(StringIO()) as said:
    for category, name in enumerate(("real", "fake", "edited")):
        try:
            with GradCAM(model, [layer]) as cam:
                picture = cam(image, targets=[ClassifierOutputTarget(category)])
            maps[name] = picture
        except IndexError as error:
            left.append(error)
assert said.getvalue().count("\n") == 1, said.getvalue()
assert not left and list(maps) == ["real", "fake", "edited"]
assert not (maps["real"] == maps["fake"]).all() and (maps["edited"] == maps["fake"]).all()
print("errors that left the block: none")
print("map of the third class, of two: the second's, entry for entry")

reached = []
with redirect_stdout(StringIO()), GradCAM(model, [layer]):
    reached.append(["real", "fake"][2])
    reached.append("after")
assert not reached
try:
    with GradCAM(model, [layer]):
        {}["fake"]
except KeyError:
    print("the caller's own IndexError: gone; code after it in the block: skipped; KeyError: raised")
else:
    raise AssertionError("a KeyError is swallowed too")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
