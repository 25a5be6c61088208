#!/usr/bin/env bash
# efficientnet_pytorch's B4 given 256-pixel images pads as for 380: the same weights answer otherwise elsewhere.
#
# Run: bash findings/efficientnet_pytorch_pads_b4_for_380_pixels_at_any_size.sh   (exit status 0: as described)
# Versions: efficientnet_pytorch 0.7.1, torch 2.13.0.
#
# Situation: EfficientNet.from_name("efficientnet-b4") is run on images of 256 x 256, as deepfake detectors do
# with crops of faces. The network takes any size; "same" padding depends on it.
#
# One would expect: padding for the image that comes in, as in TensorFlow, where the weights are from; or a word
# that images of another size than 380 are padded otherwise.
#
# What happens: without image_size the padding is worked out once, for B4's nominal 380 pixels, and stored. At
# 256 the first strided layer with a kernel of 5 gets two pixels on each side where "same" means one before and
# two after. The shapes agree, no key of the state dict tells the two apart, and everything behind that layer is
# shifted by a pixel of a grid of stride 8. A model made with image_size=256 and the same weights pads as it
# should and answers otherwise. At 380 both are equal.
#
# Why it matters: a checkpoint says nothing of it. Trained and tested at 256 with the default, it must be rebuilt
# with the padding of 380; a network that pads by the image is another detector, and its maps another one's.
#
# Output seen:
#   efficientnet_pytorch 0.7.1, torch 2.13.0
#   380 pixels: features equal; layers padded otherwise: none
#   256 pixels: features apart; layers padded otherwise: _blocks.6._depthwise_conv (2, 2, 2, 2), not (1, 2, 1, 2)
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 efficientnet_pytorch==0.7.1 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
from importlib.metadata import version

import torch
from efficientnet_pytorch import EfficientNet


def paddings(model):
    found = {name: getattr(module, "static_padding", None) for name, module in model.named_modules()}
    return {name: tuple(pad.padding) for name, pad in found.items() if hasattr(pad, "padding")}


print(f"efficientnet_pytorch {version('efficientnet_pytorch')}, torch {version('torch').partition('+')[0]}")
torch.manual_seed(0)
default = EfficientNet.from_name("efficientnet-b4", num_classes=2).eval()
for size in (380, 256):
    sized = EfficientNet.from_name("efficientnet-b4", num_classes=2, image_size=size).eval()
    sized.load_state_dict(default.state_dict())
    image = torch.randn(1, 3, size, size)
    with torch.no_grad():
        one, other = default.extract_features(image), sized.extract_features(image)
    assert one.shape == other.shape
    equal = torch.equal(one, other)
    before, after = paddings(default), paddings(sized)
    changed = [f"{name} {before[name]}, not {after[name]}" for name in before if before[name] != after[name]]
    said = "; ".join(changed) or "none"
    print(f"{size} pixels: features {'equal' if equal else 'apart'}; layers padded otherwise: {said}")
    assert equal == (size == 380)
    expected = [] if size == 380 else ["_blocks.6._depthwise_conv (2, 2, 2, 2), not (1, 2, 1, 2)"]
    assert changed == expected, changed
    assert equal or float((one - other).abs().max() / other.abs().max()) > 0.1
PYTHON

"$folder/venv/bin/python" "$folder/show.py" 2> "$folder/log" || { cat "$folder/log"; exit 1; }
