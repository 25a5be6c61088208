#!/usr/bin/env bash
# torch.load chooses the file format by the suffix of a path, and so not for an open file.
#
# Run: bash findings/torch_load_chooses_format_by_suffix.sh   (exit status 0: as described)
# Versions: torch 2.13.0, safetensors 0.8.0.
#
# Situation: the same tensors are written twice, by safetensors.torch.save_file and by torch.save, under the names
# weights.safetensors and weights.bin. torch.load documents a path and a file object as two ways to name one file;
# its docstring does not mention safetensors.
#
# One would expect: a path and an open file of that path give the same; and the format follows from the
# content (both formats are told apart by the first bytes) or is always torch's own.
#
# What happens: a path that ends in ".safetensors" is read as safetensors, whatever it holds. The same
# safetensors file fails as an open file or under the name weights.bin, with a message about weights_only and
# pickles. A file of torch.save named weights.safetensors fails by path and loads as an open file.
#
# Why it matters: a tool that loads a classifier from a path, and later opens the file itself (to hash it,
# to read it from an archive or a store), changes which checkpoints it can read; and the message then proposes
# weights_only=False, which does not help.
#
# Output seen:
#   torch 2.13.0+cpu, safetensors 0.8.0
#   written as safetensors, named *.safetensors, given as path: loads
#   written as safetensors, named *.safetensors, given as open file: fails (UnpicklingError)
#   written as safetensors, named *.bin, given as path: fails (UnpicklingError)
#   written as torch, named *.bin, given as path: loads
#   written as torch, named *.bin, given as open file: loads
#   written as torch, named *.safetensors, given as path: fails (SafetensorError)
#   written as torch, named *.safetensors, given as open file: loads
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 safetensors==0.8.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import pathlib
import sys

import safetensors
import torch
from safetensors.torch import save_file

folder = pathlib.Path(sys.argv[1])
weights = {"w": torch.arange(3.0)}


def attempt(source) -> str:
    try:
        found = torch.load(source, weights_only=True)
    except Exception as error:
        return f"fails ({type(error).__name__})"
    assert torch.equal(found["w"], weights["w"])
    return "loads"


print(f"torch {torch.__version__}, safetensors {safetensors.__version__}")
stated = {
    ("safetensors", ".safetensors", "path"): "loads",
    ("safetensors", ".safetensors", "open file"): "fails",
    ("safetensors", ".bin", "path"): "fails",
    ("torch", ".bin", "path"): "loads",
    ("torch", ".bin", "open file"): "loads",
    ("torch", ".safetensors", "path"): "fails",
    ("torch", ".safetensors", "open file"): "loads",
}
for (format_, suffix, how), result in stated.items():
    path = folder / f"weights{suffix}"
    if format_ == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path)
    if how == "path":
        found = attempt(path)
    else:
        with path.open("rb") as file:
            found = attempt(file)
    print(f"written as {format_}, named *{suffix}, given as {how}: {found}")
    assert found.startswith(result), f"stated: {result}"
PYTHON

mkdir "$folder/weights"
"$folder/venv/bin/python" "$folder/show.py" "$folder/weights"
