"""Does an accelerator give the numbers of the CPU? All methods and all operators, in float32 and bfloat16.

    python benchmarks/gpu_correctness.py --device cuda
    python benchmarks/gpu_correctness.py --device cpu --quick    # the CPU with itself: shows that it works

On forgeries made from the shipped photographs, with the demo detector. In float32 (TensorFloat-32 off) a map
may differ by `MAP` of its largest value and a perturbed image's log-odds by `ODDS`; on the accelerator
itself, the stream's values may not depend on the batch size by more than `ODDS`. bfloat16 is measured and
reported, not judged: maps of a model in bfloat16, log-odds and areas of curves under autocast. (Random maps
are seeded by the image's pixels, so rounded pixels have another one.) Ends with status 1 if a float32 row is
out of its tolerance. Every row is written as soon as it is known.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import xai
from benchmarks.measure import device_name
from xai.attr import METHODS, create
from xai.data import forged_samples
from xai.metrics.registry import evaluate
from xai.perturb import OPERATORS, Request, States, Stream, image_seeds, make_operator, rank_units

MAP, ODDS = 1e-3, 1e-3
CHEAPER = {
    "integrated_gradients": {"n_steps": 8},
    "rise": {"n_masks": 64},
    "smoothgrad": {"nt_samples": 4},
}
"""Options of methods that would take most of the time with their defaults; they change no code path."""
PARAMETERS = {"constant": {"value": 0.0}, "noise": {"std": 1.0}, "blur": {"kernel": 31, "sigma": 5.0}}


class Report:
    """Rows, written to Markdown and JSON after each."""

    def __init__(self, stem: Path, header: dict):
        self.stem, self.header, self.rows = stem, header, []

    def add(self, **row: object) -> None:
        self.rows.append(row)
        self.stem.with_suffix(".json").write_text(
            json.dumps({"header": self.header, "results": self.rows}, indent=1)
        )
        self.stem.with_suffix(".md").write_text(self.markdown())
        print(json.dumps(row), flush=True)

    @property
    def failed(self) -> bool:
        return any(row["verdict"] in ("DIFFERS", "ERROR") for row in self.rows)

    def markdown(self) -> str:
        lines = [
            "# Accelerator against CPU",
            "",
            "Written by `python benchmarks/gpu_correctness.py`. Maps: largest difference ÷ largest value of "
            "the map. Streams: largest difference of the log-odds of perturbed images (their spread over all "
            "states in brackets). bfloat16 is reported, not judged.",
            "",
            ", ".join(f"{key} {value}" for key, value in self.header.items()) + ".",
            "",
            "| what | compared | difference | tolerance | verdict |",
            "|---|---|---:|---:|---|",
        ]
        for row in self.rows:
            allowed = "" if row["tolerance"] is None else f"{row['tolerance']:.0e}"
            lines.append(
                f"| {row['what']} | {row['compared']} | {row['difference']} | {allowed} | {row['verdict']} |"
            )
        return "\n".join(lines) + "\n"


def judge(report: Report, what: str, compared: str, tolerance: float | None, measure: Callable) -> None:
    """One row: the difference, or the error that stood in its way."""
    try:
        difference, remark = measure()
    except Exception as error:  # one broken method must not hide the others
        report.add(
            what=what, compared=compared, difference=repr(error)[:150], tolerance=tolerance, verdict="ERROR"
        )
        return
    verdict = "reported" if tolerance is None else "equal" if difference <= tolerance else "DIFFERS"
    text = f"{difference:.1e}{remark}"
    report.add(what=what, compared=compared, difference=text, tolerance=tolerance, verdict=verdict)


def map_difference(first: Tensor, second: Tensor) -> float:
    first, second = first.double().cpu(), second.double().cpu()
    scale = first.flatten(1).abs().amax(1).clamp_min(1e-12)
    return float(((first - second).flatten(1).abs().amax(1) / scale).max())


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's, smallest over the images; ties in order of position."""
    ranks = [x.double().cpu().flatten(1).argsort(1).argsort(1).double() for x in (first, second)]
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    return float(torch.nn.functional.cosine_similarity(*centred, dim=1).min())


def states(pixels: Tensor, units: tuple[int, int], seed: int) -> States:
    """Deletion, insertion and a group in the middle, for one random order per image."""
    generator = torch.Generator().manual_seed(seed)
    total = units[0] * units[1]
    relevance = torch.rand(len(pixels), total, generator=generator)
    ranks = rank_units(relevance, image_seeds(pixels, seed)).reshape(-1, *units)
    bounds = [
        (0, 0),
        (0, total),
        (0, total // 4),
        (0, total // 2),
        (total // 4, total),
        (total // 3, total // 2),
    ]
    low, high = torch.tensor(bounds, dtype=torch.int32).T
    images = torch.arange(len(pixels))
    return States(
        rankings=ranks,
        image=images,
        row=images.repeat_interleave(len(bounds)),
        low=low.repeat(len(pixels)),
        high=high.repeat(len(pixels)),
    )


def odds(model: torch.nn.Module, pixels: Tensor, requests: list[Request], **options: object) -> Tensor:
    targets = torch.ones(len(pixels), dtype=torch.long)
    return torch.cat(Stream(model, **options).evaluate(pixels, targets, requests)).double()


def compare_methods(report: Report, models: dict, pixels: Tensor, device: str) -> None:
    for name in METHODS:
        options = CHEAPER.get(name, {})

        def patches(
            key: str, where: str, dtype: torch.dtype = torch.float32, name=name, options=options
        ) -> Tensor:
            return create(name, models[key], **options).attribute_patches(pixels.to(where, dtype), 1)

        def exact(patches=patches) -> tuple[float, str]:
            return map_difference(patches("cpu", "cpu"), patches("device", device)), ""

        def half(patches=patches) -> tuple[float, str]:
            first, second = patches("cpu", "cpu"), patches("bfloat16", device, torch.bfloat16)
            return map_difference(first, second), f" (rank correlation {rank_correlation(first, second):.3f})"

        judge(report, f"method {name}", "float32, CPU", MAP, exact)
        judge(report, f"method {name}", "bfloat16 model, float32 on the CPU", None, half)


def compare_operators(report: Report, models: dict, pixels: Tensor, device: str) -> None:
    grid = models["cpu"].grid
    for name in OPERATORS:
        operator = make_operator(name, **PARAMETERS.get(name, {}))
        for units in ((grid.rows, grid.cols), tuple(pixels.shape[2:])):
            if name == "token" and units != (grid.rows, grid.cols):
                continue
            requests = [Request(operator, states(pixels, units, 0))]
            what = f"operator {name}, {units[0]} × {units[1]} units"

            def on_cpu(requests=requests) -> Tensor:
                return odds(models["cpu"], pixels, requests, batch_size=32)

            def there(requests=requests, batch_size=32, autocast=None) -> Tensor:
                moved = pixels.to(device)
                return odds(models["device"], moved, requests, batch_size=batch_size, autocast=autocast)

            def exact(on_cpu=on_cpu, there=there) -> tuple[float, str]:
                first = on_cpu()
                return float((first - there()).abs().max()), f" ({float(first.std()):.1f})"

            def batches(there=there) -> tuple[float, str]:
                return float((there() - there(batch_size=7)).abs().max()), ""

            def half(there=there) -> tuple[float, str]:
                first = there()
                return float(
                    (first - there(autocast=torch.bfloat16)).abs().max()
                ), f" ({float(first.std()):.1f})"

            judge(report, what, "float32, CPU", ODDS, exact)
            judge(report, what, "float32, batches of 32 and 7", ODDS, batches)
            judge(report, what, "bfloat16 autocast, float32", None, half)


def compare_areas(report: Report, models: dict, pixels: Tensor, device: str) -> None:
    """What bfloat16 does to the numbers that tables hold."""
    relevance = create("gradient_weighted_attention", models["cpu"]).attribute_patches(pixels, 1)[None]
    for protocol in ("vit-token", "vit-mean"):
        for metric in ("deletion", "insertion", "srg"):

            def area(key: str, where: str, autocast=None, metric=metric, protocol=protocol) -> Tensor:
                stream = Stream(models[key], autocast=autocast)
                return evaluate(stream, [metric], pixels.to(where), relevance, 1, protocol)[metric].value

            def exact(area=area) -> tuple[float, str]:
                return float((area("cpu", "cpu") - area("device", device)).abs().max()), ""

            def half(area=area) -> tuple[float, str]:
                first = area("device", device)
                there = area("device", device, torch.bfloat16)
                return float((first - there).abs().max()), f" (spread over images {float(first.std()):.2f})"

            what = f"{metric}, {protocol}"
            judge(report, what, "float32, CPU", ODDS, exact)
            judge(report, what, "bfloat16 autocast, float32", None, half)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="two images")
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"))
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("No CUDA device here; --device cpu compares the CPU with itself.")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    images = 2 if options.quick else options.images
    models = {
        "cpu": xai.load("demo"),
        "device": xai.load("demo").to(options.device),
        "bfloat16": xai.load("demo").to(options.device, torch.bfloat16),
    }
    pixels = torch.stack([models["cpu"].preprocess(s.image) for s in forged_samples(count=images)])
    options.out.mkdir(parents=True, exist_ok=True)
    header = {
        "device": device_name(options.device),
        "images": images,
        "torch": torch.__version__,
        "CUDA": torch.version.cuda or "none",
    }
    report = Report(options.out / f"correctness_{options.device.replace(':', '')}", header)
    compare_operators(report, models, pixels, options.device)
    compare_areas(report, models, pixels, options.device)
    compare_methods(report, models, pixels, options.device)
    print(f"Wrote {report.stem}.md and .json")
    if report.failed:
        raise SystemExit("Some rows differ or failed.")


if __name__ == "__main__":
    main()
