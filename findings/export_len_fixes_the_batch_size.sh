#!/usr/bin/env bash
# torch.export keeps the batch size dynamic for x.shape[0] and fixes it for len(x), without a word.
#
# Run: bash findings/export_len_fixes_the_batch_size.sh   (exit status 0: as described)
# Version: torch 2.13.0.
#
# Situation: a forward method flattens a batch of images with x.reshape(len(x), -1) or, elsewhere, with
# x.reshape(x.shape[0], -1). For a tensor both are the same number. Each is exported with
# dynamic_shapes=({0: Dim.AUTO},) from an example batch of four images.
#
# One would expect: both programs take any batch size; or the export tells that one of them does not.
#
# What happens: both exports end without an error and without a warning. The program with x.shape[0] takes any
# batch. In the one with len(x) the batch size is the constant 4, and a batch of two is refused when it is run.
# With strict=True the same len(x) stays dynamic. Dim.AUTO is documented to allow a constant dimension; that
# len() makes it one, because Python wants a plain int from it, is what surprises.
#
# Why it matters: perturbation methods (occlusion, RISE, SHAP, integrated gradients) send batches of many sizes,
# and the last batch is a smaller one. A classifier exported in this way is explained up to the last batch and
# then fails; a look at the shape of the exported program's input tells beforehand.
#
# Output seen:
#   torch 2.13.0+cpu, exported with a batch of 4
#   ByShape, strict=False: batch size dynamic, a batch of 2 gives (2,)
#   ByLen, strict=False: batch size constant 4, a batch of 2 is refused: Guard failed: x.size()[0] == 4
#   ByLen, strict=True: batch size dynamic, a batch of 2 gives (2,)
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 HF_HUB_DISABLE_PROGRESS_BARS=1

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6

cat > "$folder/show.py" <<'PYTHON'
import warnings

import torch
from torch.export import Dim, export


class ByLen(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), -1).mean(1)


class ByShape(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1).mean(1)


print(f"torch {torch.__version__}, exported with a batch of 4")
example = torch.randn(4, 3, 8, 8)
for module, strict, dynamic in ((ByShape, False, True), (ByLen, False, False), (ByLen, True, True)):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = export(module(), (example,), dynamic_shapes=({0: Dim.AUTO},), strict=strict)
    about_shapes = [str(w.message) for w in said if not issubclass(w.category, DeprecationWarning)]
    assert not about_shapes, f"the export warns: {about_shapes}"
    (size,) = [n.meta["val"].shape[0] for n in program.graph.nodes if n.op == "placeholder"]
    assert (str(size) != "4") == dynamic, f"{module.__name__}, strict={strict}: batch size {size}"
    assert program.module()(example).shape == (4,)
    try:
        result = f"gives {tuple(program.module()(torch.randn(2, 3, 8, 8)).shape)}"
    except (AssertionError, RuntimeError) as error:
        assert not dynamic, f"{module.__name__}, strict={strict}: {error}"
        result = f"is refused: {error}"
    else:
        assert dynamic, f"{module.__name__}, strict={strict} takes a batch of 2"
    state = "dynamic" if dynamic else f"constant {size}"
    print(f"{module.__name__}, strict={strict}: batch size {state}, a batch of 2 {result}")
PYTHON

"$folder/venv/bin/python" "$folder/show.py"
