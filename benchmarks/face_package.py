"""What facenet-pytorch's own code finds in the pictures of tests/face_pictures.py, for tests/faces/.

Run where torchvision is installed (make .venv-interop), with the wheel that `xai models fetch faces` pins:

    pip download --no-deps facenet-pytorch==2.6.0
    PYTHONPATH=tests .venv-interop/bin/python benchmarks/face_package.py facenet_pytorch-2.6.0-*.whl
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import torch
from face_pictures import face_pictures

OUTPUT = Path(__file__).parents[1] / "tests" / "faces" / "package_output.json"
SMALLEST = {40: (), 20: ("sample", "cut")}  # pixels: of which pictures, () of all


def main(wheel: str) -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)
        package = import_module("facenet_pytorch.models.mtcnn")
        found, pictures = {}, face_pictures()
        for smallest, names in SMALLEST.items():
            finder = package.MTCNN(min_face_size=smallest, keep_all=True, device="cpu")
            for name in names or pictures:
                boxes, scores, points = finder.detect(pictures[name], landmarks=True)
                answer = {"boxes": boxes, "scores": scores, "points": points}
                found[f"{name}, {smallest}"] = {
                    key: [] if boxes is None else np.round(np.array(value, float), 6).tolist()
                    for key, value in answer.items()
                }
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{OUTPUT}: {sum(len(one['boxes']) for one in found.values())} faces")


if __name__ == "__main__":
    main(sys.argv[1])
