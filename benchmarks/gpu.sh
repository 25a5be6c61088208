#!/usr/bin/env bash
# Correctness, cost and speed on a CUDA machine, in one go; Markdown and JSON go to OUT (default reports/gpu).
#
#   benchmarks/gpu.sh                          # everything
#   benchmarks/gpu.sh --device cpu --quick     # shows on any machine that the program works; figures mean nothing
#   benchmarks/gpu.sh --only correctness,stream
#
# Needs a Python with torch and transformers: PYTHON (default python3). What else is missing is installed into a
# folder of its own, without network from WHEELS (a folder of wheels) if that is set, else by pip as usual. Nothing
# of the Python environment is changed. Every step writes its rows as they finish; a step that fails does not
# stop the others, and the program's status says so at the end. Parts: correctness, cost, stream, demo.
set -uo pipefail
cd "$(dirname "$0")/.."

device=cuda quick="" only="correctness,cost,stream,demo"
while [ $# -gt 0 ]; do
  case "$1" in
    --device) device="${2:?--device needs a value}"; shift 2 ;;
    --only) only="${2:?--only needs a value}"; shift 2 ;;
    --quick) quick=--quick; shift ;;
    *) echo "Unknown argument $1. Valid: --device, --only, --quick." >&2; exit 2 ;;
  esac
done
python="${PYTHON:-python3}" out="${OUT:-reports/gpu}"
mkdir -p "$out"

if ! "$python" -c 'import torch, transformers' 2>/dev/null; then
  echo "$python has no torch or no transformers; name another one with PYTHON=…" >&2
  exit 2
fi
if [ "${device#cuda}" != "$device" ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "There is no CUDA device here. On a CPU: benchmarks/gpu.sh --device cpu --quick" >&2
  exit 2
fi

# what the package needs beside torch and transformers; import name : distribution
extras="$(mktemp -d)"
trap 'rm -rf "$extras"' EXIT
export PYTHONPATH="$PWD:$extras${PYTHONPATH:+:$PYTHONPATH}"
# hardware that a benchmark asks for, and no reaching out for anything
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
for pair in captum:captum yaml:pyyaml typer:typer rich:rich pydantic:pydantic jaxtyping:jaxtyping jinja2:jinja2 \
  matplotlib:matplotlib PIL:pillow safetensors:safetensors pandas:pandas pyarrow:pyarrow scipy:scipy; do
  "$python" -c "import ${pair%%:*}" 2>/dev/null && continue
  echo "Installing ${pair##*:}"
  from=(); [ -n "${WHEELS:-}" ] && from=(--no-index --find-links "$WHEELS")
  # without dependencies first: captum's are torch and friends, which are there and must stay as they are
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$extras" "${from[@]}" "${pair##*:}" \
    || echo "Could not install ${pair##*:}" >&2
  if ! "$python" -c "import ${pair%%:*}" 2>/dev/null; then
    "$python" -m pip install --quiet --disable-pip-version-check --target "$extras" "${from[@]}" "${pair##*:}" \
      || echo "Could not install ${pair##*:} with what it needs" >&2
  fi
done
if ! "$python" -c 'import xai, xai.attr'; then
  echo "The package cannot be imported; see above. WHEELS=DIR names a folder of wheels." >&2
  exit 2
fi

failed=""
step() { # name, command
  case ",$only," in *",$1,"*) ;; *) return ;; esac
  echo "== $1: ${*:2}"
  local start=$SECONDS
  "${@:2}" || failed="$failed $1"
  echo "== $1: $((SECONDS - start)) s"
}

dtypes="float32 bfloat16"
[ -n "$quick" ] && dtypes=float32
step correctness "$python" benchmarks/gpu_correctness.py --device "$device" --out "$out" $quick
for dtype in $dtypes; do
  cost=(--device "$device" --dtype "$dtype" --out "$out" --batch 8)
  [ -n "$quick" ] && cost=(--device "$device" --dtype "$dtype" --out "$out" --batch 1 --pairs 1 --sizes 224 --skip-methods)
  step cost "$python" benchmarks/attribution_cost.py "${cost[@]}"
  stream=(--device "$device" --dtype "$dtype" --out "$out")
  [ -n "$quick" ] && stream+=(--quick --models "demo detector" --loops xai)
  step stream "$python" benchmarks/stream_efficiency.py "${stream[@]}"
done

demo() {
  local config="$out/demo_$device.yaml" run="$out/demo_$device"
  "$python" - "$device" "$quick" "$config" <<'PY' || return 1
import sys
from pathlib import Path

import yaml

device, quick, target = sys.argv[1:]
config = yaml.safe_load(Path("configs/demo.yaml").read_text())
config |= {"device": device, "batch_size": 32 if quick else 256}
if quick:
    config["data"]["forgeries"]["count"] = 2
    config["methods"] = config["methods"][:1]
    config["controls"] = {"random_seeds": 1, "center_prior": False, "sobel": False, "raw_attention": False, "greedy_images": 0}
    config["protocols"] = config["protocols"][:1]
    config["checks"] = {}
    config["statistics"] = {"resamples": 99}
Path(target).write_text(yaml.safe_dump(config, sort_keys=False))
PY
  "$python" -m xai benchmark run "$config" --out "$run"
}
step demo demo

if [ -n "$failed" ]; then
  echo "Failed:$failed" >&2
  exit 1
fi
echo "Everything is in $out/"
