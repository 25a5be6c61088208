"""Cost of each attribution in units of one inference forward of the same batch, side by side in one run.

    python benchmarks/attribution_cost.py                 # table 1: 197 tokens; table 2: 197 … 4097 tokens
    python benchmarks/attribution_cost.py --device cuda --dtype bfloat16

The model is a CLIP ViT-B/16 tower with a two-class head and random weights: cost depends on shapes alone.
Each pair is one plain forward and one attribution, run alternately; the figure is the median of the pairs'
ratios, with the 5th and 95th percentile. Memory is the peak above what was allocated before: on the GPU as
CUDA counts it, on the CPU as the growth of resident memory, each row in a fresh process. A method of more
than ten passes is timed once, on one image, in the call whose memory is measured.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.measure import (
    device_name,
    failure,
    in_fresh_process,
    limit_memory,
    merged,
    peak_memory,
    save_results,
    spread,
    timed,
)
from xai.attr import METHODS, GradientWeightedAttention, create

# timed once: their many passes average out what a single one would scatter
SLOW = tuple(name for name, one in METHODS.items() if one.info.forwards + one.info.backwards > 10)
LAYERS = {"last_4_layers": 4, "all_layers": 12}


class Detector(nn.Module):
    """CLIP ViT-B/16 with a real/fake head."""

    def __init__(self, image_size: int, implementation: str, layers: int = 12, width: int = 768):
        super().__init__()
        config = CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            patch_size=16,
            image_size=image_size,
            attn_implementation=implementation,
        )
        self.config = config
        self.backbone = CLIPVisionModel(config)
        self.head = nn.Linear(width, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.backbone(pixel_values=pixels).pooler_output)


def retain_grad(model: Detector, pixels: Tensor, layers: int) -> Tensor:
    """The usual script: eager attention, every map kept, one full backward pass."""
    model.requires_grad_(True)
    output = model.backbone(pixel_values=pixels, output_attentions=True)
    for attention in output.attentions:
        attention.retain_grad()
    model.head(output.pooler_output)[:, 1].sum().backward()
    products = [(a * a.grad).mean(1)[:, 0, 1:] for a in output.attentions[-layers:]]
    model.zero_grad(set_to_none=True)
    return torch.stack(products).mean(0).clamp_min(0).detach()


def eager_autograd(model: Detector, pixels: Tensor, layers: int) -> Tensor:
    """Eager attention at its best: frozen weights, gradient of the chosen maps only."""
    model.requires_grad_(False)
    pixels = pixels.detach().requires_grad_()
    output = model.backbone(pixel_values=pixels, output_attentions=True)
    maps = output.attentions[-layers:]
    gradients = torch.autograd.grad(model.head(output.pooler_output)[:, 1].sum(), maps)
    products = [(a * g).mean(1)[:, 0, 1:] for a, g in zip(maps, gradients, strict=True)]
    return torch.stack(products).mean(0).clamp_min(0).detach()


def recorded(layers: str) -> Callable[[Detector, int], Callable[[Tensor], Tensor]]:
    def make(model: Detector, _: int) -> Callable[[Tensor], Tensor]:
        method = GradientWeightedAttention(model, layers)
        return lambda x: method.attribute_patches(x, 1)

    return make


def rows(tokens_table: bool) -> dict[str, tuple[str, Callable]]:
    """Row name → (attention implementation, maker of the timed call)."""
    table: dict[str, tuple[str, Callable]] = {}
    for preset, n in LAYERS.items():
        table[f"gradient_weighted_attention, {preset}"] = ("sdpa", recorded(preset))
        table[f"eager, autograd on the maps, {preset}"] = (
            "eager",
            lambda m, _, n=n: lambda x: eager_autograd(m, x, n),
        )
        table[f"eager, retain_grad on all maps, {preset}"] = (
            "eager",
            lambda m, _, n=n: lambda x: retain_grad(m, x, n),
        )
    if not tokens_table:
        for name in METHODS:
            if name != "gradient_weighted_attention":
                table[name] = ("sdpa", lambda m, _, name=name: _method(m, name))
        for name in ("input_x_gradient", "gradient_weighted_attention"):
            table[f"{name}, libra"] = ("sdpa", lambda m, _, name=name: _method(m, name, rules="libra"))
    else:
        table = {k: v for k, v in table.items() if "last_4" in k}
    return table


def _method(model: Detector, name: str, **options: str) -> Callable[[Tensor], Tensor]:
    method = create(name, model, **options)
    return lambda x: method.attribute_patches(x, 1)


def measure(job: dict) -> dict:
    """One row, in its own process: alternating pairs, then peak memory."""
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    if job["device"] == "cpu":
        limit_memory()
    device, dtype = torch.device(job["device"]), getattr(torch, job["dtype"])
    implementation, make = rows(job["tokens_table"])[job["row"]]
    plain = Detector(job["image_size"], "sdpa").eval().requires_grad_(False).to(device, dtype)
    model = plain
    if implementation != "sdpa":
        model = Detector(job["image_size"], implementation).eval().to(device, dtype)
        model.load_state_dict(plain.state_dict())
    pixels = torch.randn(job["batch"], 3, job["image_size"], job["image_size"]).to(device, dtype)
    explain = make(model, job["image_size"])

    def forward(x: Tensor) -> Tensor:
        with torch.no_grad():
            return plain(x)

    try:
        forward(pixels)  # warm up: workspaces and caches that stay
        base = peak_memory(lambda: forward(pixels), device)
        if job["row"] in SLOW:
            seconds = [timed(lambda: forward(pixels), device) for _ in range(job["pairs"])]
            attributed: list[float] = []
            extra = peak_memory(lambda: attributed.append(timed(lambda: explain(pixels), device)), device)
            ratios = [attributed[0] / statistics.median(seconds)]
        else:
            explain(pixels)  # warm up
            extra = peak_memory(lambda: explain(pixels), device)
            pairs = [
                (timed(lambda: forward(pixels), device), timed(lambda: explain(pixels), device))
                for _ in range(job["pairs"])
            ]
            seconds = [one for one, _ in pairs]
            ratios = [many / one for one, many in pairs]
    except (torch.OutOfMemoryError, RuntimeError) as error:
        return {**job, "error": failure(error)}
    found = spread(ratios)
    return {
        **job,
        "ratio": found["median"],
        "low": found["low"],
        "high": found["high"],
        "pairs": len(ratios),
        "forward_seconds": statistics.median(seconds),
        "forward_peak_mb": base,
        "peak_mb": extra,
    }


def markdown(results: list[dict], header: dict) -> str:
    """The figures as a page, and which rows of the first table it lacks."""
    lines = [
        "# Cost of attributions",
        "",
        "Written by `python benchmarks/attribution_cost.py`; raw figures beside it in JSON. One unit is one "
        "plain inference forward (fused attention, no gradient) of the same batch, timed alternately with "
        "the attribution; median of the ratios, 5th–95th percentile in brackets; methods of more than ten "
        "passes ran once, on one image. CLIP ViT-B/16 shapes, random weights, frozen, every method at its "
        "defaults. Memory is the peak above the level before the call.",
        "",
        ", ".join(f"{k} {v}" for k, v in header.items()) + ".",
    ]
    for table, title in (
        (False, "All methods, 197 tokens"),
        (True, "Last four layers, by number of tokens"),
    ):
        chosen = [r for r in results if r["tokens_table"] == table]
        if not chosen:
            continue
        lines += [
            "",
            f"## {title}",
            "",
            "| tokens | batch | attribution | × forward | peak MB | forward's peak MB |",
        ]
        lines += ["|---:|---:|---|---:|---:|---:|"]
        for r in chosen:
            tokens = (r["image_size"] // 16) ** 2 + 1
            between = f" ({r['low']:.2f}–{r['high']:.2f})" if r["pairs"] > 1 and "low" in r else ""
            if "error" in r:
                lines.append(f"| {tokens} | {r['batch']} | {r['row']} | failed: {r['error']} | | |")
                continue
            lines.append(
                f"| {tokens} | {r['batch']} | {r['row']} | {r['ratio']:.2f}{between} "
                f"| {r['peak_mb']:.0f} | {r['forward_peak_mb']:.0f} |"
            )
    measured = {r["row"] for r in results if not r["tokens_table"]}
    if missing := [name for name in SLOW if measured and name not in measured]:
        passes = ", ".join(f"{name} {METHODS[name].info.forwards}" for name in missing)
        lines += ["", f"Not measured; forward passes as declared: {passes}."]
    return "\n".join(lines) + "\n"


def place(one: dict) -> tuple:
    return one["tokens_table"], one["image_size"], one["row"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[224, 512, 1024], help="image sizes of table 2"
    )
    parser.add_argument("--skip-methods", action="store_true", help="leave table 1 out")
    parser.add_argument("--rows", nargs="*", help="measure these alone, keep the others of an earlier run")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    options = parser.parse_args()

    common = {k: getattr(options, k) for k in ("device", "dtype", "pairs", "threads")}
    jobs = [
        {**common, "row": row, "image_size": 224, "batch": batch, "tokens_table": False}
        for row in ([] if options.skip_methods else rows(tokens_table=False))
        for batch in [1 if row in SLOW else options.batch]
    ]
    jobs += [
        {**common, "row": row, "image_size": size, "batch": 1, "tokens_table": True, "pairs": pairs}
        for size in options.sizes
        for pairs in [options.pairs if size < 1024 else max(3, options.pairs // 6)]
        for row in rows(tokens_table=True)
    ]
    results = []
    for job in jobs:
        if options.rows is not None and job["row"] not in options.rows:
            continue
        results.append(in_fresh_process(measure, job))
        print(
            json.dumps(
                {
                    k: v
                    for k, v in results[-1].items()
                    if k in ("row", "image_size", "ratio", "peak_mb", "error")
                }
            ),
            flush=True,
        )
    header = {
        "device": device_name(options.device),
        "threads": options.threads,
        "dtype": options.dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    options.out.mkdir(exist_ok=True)
    stem = options.out / f"attribution_cost_{options.device}_{options.dtype}"
    if options.rows is not None:
        results = merged(json.loads(stem.with_suffix(".json").read_text()), results, header, jobs, place)
    save_results(stem.with_suffix(".json"), header, results)
    stem.with_suffix(".md").write_text(markdown(results, header))
    print(f"Wrote {stem}.md and .json")


if __name__ == "__main__":
    main()
