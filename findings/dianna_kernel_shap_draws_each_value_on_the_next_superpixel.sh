#!/usr/bin/env bash
# DIANNA's KernelSHAP of an image draws the value of each superpixel on the next one, and has none for the last.
#
# Run: bash findings/dianna_kernel_shap_draws_each_value_on_the_next_superpixel.sh   (exit status 0: as described)
# Versions: dianna 1.8.1, shap 0.51.0, scikit-image 0.26.0, onnxruntime 1.32.0.
#
# Situation: an image of four flat quadrants, and a model in ONNX with four outputs: the brightness of each quadrant. DIANNA
# divides the image by SLIC, which finds the quadrants, hides superpixels in black, and draws SHAP's values as a map per output.
#
# One would expect: 0.5 on the quadrant that an output reads, which is its whole brightness, and 0 on the others.
#
# What happens: SLIC counts from 1 (scikit-image's default since 0.19). What is hidden for SHAP's feature j is the superpixel of
# label j, counted from 0, but its value is drawn on the superpixel of label j + 1. So each quadrant's value stands on the one
# after it, in SLIC's order, and the quadrant that decides has 0. The last is never hidden: the map of its output is 0
# everywhere. A caller's start_label=0 is dropped on the way to SLIC, and changes nothing.
#
# Why it matters: the values are right and add up, so nothing looks wrong; only their place is: each lies on
# whichever superpixel SLIC counts next.
#
# Output seen:
#   dianna 1.8.1, shap 0.51.0, scikit-image 0.26.0
#   superpixels of the quadrants: 1 2 3 4
#   output that reads quadrant 1: 0.00 0.50 0.00 0.00
#   output that reads quadrant 2: 0.00 0.00 0.50 0.00
#   output that reads quadrant 3: 0.00 0.00 0.00 0.50
#   output that reads quadrant 4: 0.00 0.00 0.00 0.00
#   with start_label=0: the same
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 scikit-image==0.26.0 \
    shap==0.51.0 tqdm==4.70.1 xarray==2026.9.0
"$folder/venv/bin/pip" install --quiet --no-deps dianna==1.8.1  # what else it asks for is for texts, tables and notebooks

cat > "$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnx
from dianna.methods.kernelshap_image import KERNELSHAPImage
from onnx import TensorProto, helper, numpy_helper

print(", ".join(f"{name} {version(name)}" for name in ("dianna", "shap", "scikit-image")))
SIDE, HALF = 32, 16
QUADRANTS = [np.s_[:HALF, :HALF], np.s_[:HALF, HALF:], np.s_[HALF:, :HALF], np.s_[HALF:, HALF:]]
COLOURS = [(1, 0.5, 0), (0, 1, 0.5), (0.5, 0, 1), (1, 0, 0.5)]
image = np.zeros((SIDE, SIDE, 3), np.float32)
weight = np.zeros((SIDE, SIDE, 3, 4), np.float32)
for output, (place, colour) in enumerate(zip(QUADRANTS, COLOURS, strict=True)):
    image[place] = colour
    weight[(*place, slice(None), output)] = 1 / (HALF * HALF * 3)

nodes = [
    helper.make_node("Flatten", ["image"], ["flat"], axis=1),
    helper.make_node("MatMul", ["flat", "weight"], ["brightness"]),
]
given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", SIDE, SIDE, 3])
answer = helper.make_tensor_value_info("brightness", TensorProto.FLOAT, ["n", 4])
graph = helper.make_graph(nodes, "quadrants", [given], [answer], [numpy_helper.from_array(weight.reshape(-1, 4), "weight")])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), sys.argv[1])


def explain(**options):
    """Mean value of each output's map in each quadrant, and the superpixels of the quadrants."""
    method = KERNELSHAPImage(axis_labels={2: "channels"})
    maps = method.explain(
        sys.argv[1], image, labels=[0, 1, 2, 3], nsamples=64, background=0, n_segments=4, compactness=1.0, **options
    )
    labels = [np.unique(method.image_segments[place]).tolist() for place in QUADRANTS]
    return np.array([[one[place].mean() for place in QUADRANTS] for one in maps]), labels


values, labels = explain()
assert labels == [[1], [2], [3], [4]], labels
print("superpixels of the quadrants:", *(label for (label,) in labels))
for output, row in enumerate(values):
    print(f"output that reads quadrant {output + 1}:", *(f"{value + 0.0:.2f}" for value in row.round(6)))
assert np.allclose(values, 0.5 * np.eye(4, k=1), atol=1e-5), values
again, labels = explain(start_label=0)
assert labels == [[1], [2], [3], [4]] and np.allclose(again, values, atol=1e-5)
print("with start_label=0: the same")
PYTHON

"$folder/venv/bin/python" "$folder/show.py" "$folder/model.onnx" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
