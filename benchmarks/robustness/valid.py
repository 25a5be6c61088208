"""Valid inputs, tiny, from which hostile ones are made: each reaches the end of its command as it is."""

import csv
import json
import tarfile
from io import BytesIO
from pathlib import Path
from random import Random

SIZE = 32
METHOD = ("--method", "attention_rollout", "--target", "fake")
MODEL = {
    "model_name": "clip",
    "weights": "tiny.pth",
    "labels": ["real", "fake"],
    "resolution": SIZE,
    "resize": "shortest_edge",
    "crop": "center",
    "interpolation": "bicubic",
    "mean": [0.48, 0.46, 0.41],
    "std": [0.27, 0.26, 0.28],
}
TUNED = {
    "method": "gradient_weighted_attention",
    "options": {"layers": "last_layer", "head_fusion": "mean", "layer_fusion": "mean", "clamp": "fused"},
    "tuned": {"protocol": "vit-mean", "images": 4, "held_out_gain": {"mean": 0.1, "low": -0.1, "high": 0.2}},
}
SMALL = {
    "methods": ["attention_rollout"],
    "controls": {
        "random_seeds": 1,
        "center_prior": False,
        "sobel": False,
        "raw_attention": False,
        "greedy_images": 0,
    },
    "protocols": [{"base": "vit-token", "name": "t2", "steps": 2, "target": "predicted"}],
    "metrics": ["srg"],
    "checks": {"metrics": []},
    "statistics": {"resamples": 99},
}
LARGE = {
    "methods": [
        "attention_rollout",
        {"name": "gwa", "method": "gradient_weighted_attention", "options": {"clamp": None}},
    ],
    "controls": {
        "random_seeds": 2,
        "center_prior": True,
        "sobel": False,
        "raw_attention": False,
        "greedy_images": 0,
    },
    "protocols": [
        {"base": "vit-token", "name": "token", "steps": 2},
        {"base": "vit-mean", "name": "mean", "steps": 2},
    ],
    "metrics": ["srg", "deletion", "rank_accuracy"],
    "checks": {"metrics": ["class_sensitivity"], "images": 1},
    "statistics": {"resamples": 99},
    "seed": 0,
    "batch_size": 8,
    "shard_size": 2,
}


class Valid:
    """Where the valid inputs lie.

    Args:
        folder: Of all of them.
    """

    libraries = (
        "transformers.models.clip.modeling_clip",
        "transformers.models.vit.modeling_vit",
    )
    """Modules that `write` imports."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.detector = folder / "detector" / "tiny.yaml"
        self.weights = folder / "detector" / "tiny.pth"
        self.hf = folder / "hf"
        self.photos = folder / "photos"
        self.manifest = self.photos / "manifest.csv"
        self.tar = folder / "photos.tar"
        self.parquet = folder / "photos.parquet"
        self.bench = folder / "bench.yaml"
        self.run = folder / "run"

    @property
    def photo(self) -> Path:
        return self.photos / "0.png"

    def write(self) -> None:
        """All but the finished run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_photos(self.photos, 5)
        self._write_detector()
        self._write_huggingface()
        self._write_shards()
        import yaml

        content = {
            "name": "tiny",
            "model": {"config": str(self.detector)},
            "data": {"manifest": str(self.manifest)},
        }
        self.bench.write_text(yaml.safe_dump(content | LARGE))
        (self.folder / "tuned.yaml").write_text(yaml.safe_dump(TUNED, sort_keys=False))

    def commands(self) -> list[list[str]]:
        """Each command once, on valid input; the second makes the finished run."""
        model = ["--config", str(self.detector)]
        return [
            ["explain", str(self.photo), *model, *METHOD, "--out", "out", "--report"],
            ["benchmark", "run", str(self.bench), "--out", str(self.run)],
            ["doctor", f"local:{self.hf}"],
            ["benchmark", "run", str(self.bench), "--dry-run"],
            ["report", str(self.run), "--out", "page.html"],
            ["benchmark", "export", str(self.run), "--out", "records.csv"],
            ["benchmark", "compare", str(self.run), str(self.run)],
            ["doctor", str(self.detector)],
            ["explain", str(self.photo), "--model", f"local:{self.hf}", *METHOD, "--out", "out"],
            ["compare", str(self.photo), *model, "--methods", "attention_rollout,chefer", "--out", "out"],
            ["forge", str(self.photos), "--size", "32", "--count", "9", "--out", "out"],
            ["tune", str(self.bench), "--out", "tuned.yaml", "--folds", "2"],
        ]

    def _write_detector(self) -> None:
        import torch
        import transformers as hf
        import yaml
        from torch import nn

        self.detector.parent.mkdir(exist_ok=True)
        torch.manual_seed(0)
        config = hf.CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=1,
            image_size=SIZE,
            patch_size=8,
        )
        parts = nn.ModuleDict({"backbone": hf.CLIPVisionModel(config), "head": nn.Linear(64, 2)})
        torch.save(parts.state_dict(), self.weights)
        self.detector.write_text(yaml.safe_dump(MODEL, sort_keys=False))

    def _write_huggingface(self) -> None:
        import torch
        import transformers as hf

        torch.manual_seed(0)
        config = hf.ViTConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIZE,
            patch_size=8,
            id2label={0: "real", 1: "fake"},
            label2id={"real": 0, "fake": 1},
        )
        hf.utils.logging.disable_progress_bar()
        hf.ViTForImageClassification(config).save_pretrained(self.hf)
        steps = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "do_normalize": True,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "resample": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "size": {"height": SIZE, "width": SIZE},
        }
        (self.hf / "preprocessor_config.json").write_text(json.dumps(steps, indent=1))

    def _write_shards(self) -> None:
        rows = shard_rows(self.photos)
        self.tar.write_bytes(tar_bytes(tar_members(rows)))
        import pyarrow as pa
        import pyarrow.parquet as parquet

        parquet.write_table(pa.Table.from_pylist(rows), self.parquet, row_group_size=2)


def write_photos(folder: Path, count: int) -> None:
    """`0.png` … with masks `0_mask.png` … and `manifest.csv`: smooth colour, so that forging works too."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = [["path", "label", "mask", "group", "kind"]]
    for number in range(count):
        coarse = Image.frombytes("RGB", (5, 4), Random(number).randbytes(60))
        coarse.resize((40, 36), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        mask = Image.new("L", (40, 36))
        mask.paste(255, (8 + number, 4, 24, 20))
        mask.save(folder / f"{number}_mask.png")
        kind = "noise" if number % 2 else "blur"
        rows.append([f"{number}.png", "fake", f"{number}_mask.png", f"video{number // 2}", kind])
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def manifest_rows(photos: Path) -> list[dict[str, str]]:
    """The manifest, its paths made absolute."""
    with (photos / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row | {key: str(photos / row[key]) for key in ("path", "mask")} for row in rows]


def shard_rows(photos: Path) -> list[dict]:
    """The manifest with the images' bytes in the place of paths."""
    return [
        {
            "path": Path(row["path"]).stem,
            "image": Path(row["path"]).read_bytes(),
            "mask": Path(row["mask"]).read_bytes(),
            **{name: row[name] for name in ("label", "group", "kind")},
        }
        for row in manifest_rows(photos)
    ]


def tar_members(rows: list[dict]) -> list[tuple[str, bytes]]:
    """WebDataset: `key.png`, `key.json`, `key.mask.png`."""
    members = []
    for row in rows:
        said = {name: row[name] for name in ("label", "group", "kind")}
        members += [(f"{row['path']}.png", row["image"]), (f"{row['path']}.json", json.dumps(said).encode())]
        members.append((f"{row['path']}.mask.png", row["mask"]))
    return members


def tar_bytes(members: list[tuple[str, bytes]], change=lambda member: None, **options) -> bytes:
    """A tar of files; `change` may edit each one's header."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            tar.addfile(member, BytesIO(content))
    return buffer.getvalue()
