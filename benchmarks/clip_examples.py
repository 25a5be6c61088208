"""Pictures of the published benchmark: the first held-out forgeries as some methods explain them.

    python benchmarks/clip_examples.py --model detector.yaml --manifest forged.csv --out examples.png

The first of the manifest, not picked: they are of different kinds, see `clip_forgery.py`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import xai
from xai.core import Explanation
from xai.data import load_samples, read_manifest
from xai.explanation import Explainer
from xai.report import draw_methods, save

COLUMNS = {
    "integrated mask gradient": ("integrated_mask_gradient", {"n_steps": 8}),
    "gradient-weighted attention, all layers, signed": ("gradient_weighted_attention", {}),
    "gradient-weighted attention, last 4, clamped": (
        "gradient_weighted_attention",
        {"layers": "last_4_layers", "clamp": "fused"},
    ),
    "chefer": ("chefer", {}),
    "attn_lrp": ("attn_lrp", {}),
    "attention_rollout": ("attention_rollout", {}),
}
LABEL = "fake"
DPI = 100  # a page shows no more of it


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--device")
    options = parser.parse_args()
    classifier = xai.load(options.model, device=options.device)
    samples = list(load_samples(read_manifest(options.manifest)[: options.images]))
    # the kind names a row better than a file does
    samples = [replace(sample, id=sample.kind or sample.id, path=None) for sample in samples]
    rows: list[dict[str, Explanation]] = [{} for _ in samples]
    for column, (method, settings) in COLUMNS.items():
        explainer = Explainer(classifier, method, LABEL, **settings)
        for row, found in zip(rows, explainer.explain(samples), strict=True):
            if not isinstance(found, Explanation):
                sys.exit(str(found.error))
            row[column] = found
    save(draw_methods(rows, LABEL), options.out, dpi=DPI)


if __name__ == "__main__":
    main()
