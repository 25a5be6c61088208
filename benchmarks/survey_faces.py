"""A survey of forged and untouched faces, laid over one canonical face, with shares of face parts.

    python benchmarks/survey_faces.py PORTRAITS     # some minutes; goes on where it was stopped

PORTRAITS is a folder of pristine portraits; reports/survey/faces/ is of the 120 synthetic ones (CC0 1.0, they
show nobody who exists) of github.com/faker-js/assets-person-portrait at commit 63aef57b, 60 of women and 60
of men, which stand for photographs here. Each is forged in five ways; faces are found in the untouched twin,
so no forgery moves the points. It needs the weights of `xai models fetch faces`.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.pictures import to_webp
from xai.data.forgeries import forged_samples
from xai.data.manifest import Row, manifest_csv
from xai.faces import find

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "survey" / "faces"
KINDS = ("upsampling", "noise", "face_swap", "self_blend", "splice")
CONFIG = {
    "name": "survey-faces",
    "data": {"manifest": "faces.csv"},
    "methods": ["gradient_weighted_attention", "attention_rollout"],
    "shard_size": 100,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--each", type=int, default=1, help="forgeries of each portrait and kind")
    parser.add_argument("--out", type=Path, default=ROOT / "attention_results" / "survey-faces")
    options = parser.parse_args()
    config = options.out / "data" / "survey.yaml"
    if not config.exists():
        make_data(options.portraits, options.each, config.parent)
        config.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    run = options.out / "run"
    command = [sys.executable, "-m", "xai", "survey", str(config), "--out", str(run)]
    subprocess.run(command, check=True)  # noqa: S603 - our own
    REPORT.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "summary.md", REPORT / "summary.md")
    to_webp(run / "maps.png", REPORT / "maps.webp")
    print(f"The page, which shows portraits, is {run / 'report.html'}.", file=sys.stderr)


def make_data(portraits: Path, each: int, folder: Path) -> None:
    """Images, landmarks and a manifest: each forgery and its untouched twin in which one face is found."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = len([path for path in portraits.iterdir() if path.suffix == ".jpg"])
    samples = forged_samples(portraits, photos * len(KINDS) * each, KINDS, seed=22, pristine=True)
    rows: list[Row] = []
    for forged, pristine in zip(samples[::2], samples[1::2], strict=True):
        faces = find([pristine.image])[0]
        if len(faces) != 1:
            continue
        for sample in (forged, pristine):
            image, points = folder / f"{sample.id}.png", folder / f"{sample.id}.npy"
            sample.image.save(image)
            np.save(points, faces[0].points)
            rows.append(Row(image, sample.label, None, sample.group, sample.kind, landmarks=points))
    (folder / "faces.csv").write_text(manifest_csv(rows, folder))
    print(f"{len(rows)} of {len(samples)} crops show one face that was found.", file=sys.stderr)


if __name__ == "__main__":
    main()
