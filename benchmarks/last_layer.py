"""The last layer computed for the read-out only: what it saves, and how far the answers are apart.

    make .venv-base/.installed .venv-interop/.installed
    python benchmarks/last_layer.py             # about ten minutes on a quiet machine
    python benchmarks/last_layer.py --rounds 1  # a look

An earlier build and this one make the maps of the default method for two classes, and the states of deletion
and insertion curves, by turns, for the shipped detector and for a CLIP ViT-B/16 with random weights. In this
build alone the same is then run with the last layer whole and short by turns. The families are tiny models
with random weights as in `tests/`, the libraries' in the environment of `make test-interop`. Writes
`reports/speed/last_layer.md`.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import turns
from measure import spread

ROOT = Path(__file__).resolve().parents[1]
INTEROP = ROOT / ".venv-interop/bin/python"
CLASSES = ["real", "fake"]
TARGETS = {  # case: what, images, steps of the curves, target
    "demo, maps": ("maps", "demo", 8, 0, 1.3),
    "demo, curves, tokens": ("token", "demo", 2, 28, 1.25),
    "demo, curves, mean colour": ("mean", "demo", 2, 28, 1.25),
    "ViT-B/16, maps": ("maps", "ViT-B/16", 1, 0, 1.1),
    "ViT-B/16, curves, tokens": ("token", "ViT-B/16", 1, 28, 1.06),
    "ViT-B/16, curves, mean colour": ("mean", "ViT-B/16", 1, 14, 1.06),
}
Job = Callable[[], dict[str, Any]]


def classifier(name: str) -> Any:
    """The shipped detector, or a CLIP tower of the size of ViT-B/16 with a linear head on its class token."""
    import xai

    if name == "demo":
        return xai.load("demo")
    from transformers import CLIPVisionConfig, CLIPVisionModel

    size = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}

    class Detector(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = CLIPVisionModel(CLIPVisionConfig(patch_size=16, image_size=224, **size))
            self.head = torch.nn.Linear(768, 2)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.head(self.tower(pixel_values=pixels).pooler_output)

    torch.manual_seed(0)
    return xai.load(Detector().eval(), labels=CLASSES)


@cache
def job(what: str, name: str, images: int, steps: int) -> Job:
    """One repetition of a case; its figures hold what came out, to be compared."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    from xai.attr import IntegratedMaskGradient
    from xai.perturb import Request, States, Stream, make_operator

    model = classifier(name)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(images, 3, 224, 224, generator=generator)
    if what == "maps":
        method = IntegratedMaskGradient(model, n_steps=8, internal_batch_size=1)  # the default, in either
        return lambda: {"values": method.attribute_targets(x, [0, 1]).flatten().tolist()}
    rank = torch.stack([torch.randperm(196, generator=generator) for _ in range(images)])
    removed = torch.linspace(0, 196, steps).round().int()
    bounds = [torch.zeros_like(removed), removed, removed, torch.full_like(removed, 196)]
    low, high = (torch.cat(pair).repeat(images) for pair in (bounds[::2], bounds[1::2]))
    row = torch.arange(images).repeat_interleave(2 * steps)
    states = States(rank.view(-1, 14, 14).int(), torch.arange(images), row, low, high)
    stream, targets = Stream(model), torch.zeros(images, dtype=torch.long)
    request = Request(make_operator(what), states)
    return lambda: {"values": stream.evaluate(x, targets, [request])[0].tolist()}


def apart(first: Any, second: Any) -> float:
    """Largest difference, relative to the largest entry."""
    one, other = (torch.tensor(values, dtype=torch.float64) for values in (first, second))
    return float((one - other).abs().max() / one.abs().max())


def whole_and_short(what: str, name: str, images: int, steps: int, rounds: int) -> list[float]:
    """Ratios of thread CPU time, whole ÷ short last layer, by turns in this process."""
    from xai.attention import ReadoutLayer

    run, forgotten = job(what, name, images, steps), {}
    find = "xai.attention.last_layer._find"

    def seconds() -> float:
        start = time.thread_time()
        run()
        return time.thread_time() - start

    def whole() -> float:
        with (
            mock.patch(find, lambda *_: ReadoutLayer(None)),
            mock.patch("xai.attention.last_layer._KNOWN", forgotten),
        ):
            return seconds()

    whole(), seconds()
    return [whole() / seconds() for _ in range(rounds)]


def cost_of_finding_out(name: str) -> float:
    """CPU time of the trial, in forward passes of one image."""
    from xai.attention import last_layer

    torch.set_num_threads(1)
    model, x = classifier(name), torch.randn(1, 3, 224, 224)
    times = []
    for run in (lambda: model(x), lambda: last_layer.readout_layer(model, x)) * 2:  # the first two warm up
        last_layer._KNOWN.clear()
        start = time.thread_time()
        with torch.no_grad():
            run()
        times.append(time.thread_time() - start)
    return times[3] / times[2]


def families() -> list[list[str]]:
    """Whether the layer is short in tiny models of every family, and how far logits and maps are apart."""
    warnings.simplefilter("ignore")
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/interop")]
    from xai.attention import ReadoutLayer, readout_layer, readout_only
    from xai.attr import MaskGradient

    if "--libraries" in sys.argv:
        import test_libraries
        import timm

        small = {"num_classes": 3, "embed_dim": 48, "depth": 5, "num_heads": 4, "pretrained": False}
        made: dict[str, Callable[[], Any]] = {
            n: lambda n=n: test_libraries.build(n) for n in test_libraries.MODELS
        }
        for name, options in {
            "eva02_tiny_patch14_224": {"global_pool": "token"},
            "beit_base_patch16_224": {"global_pool": "token"},
            "vit_small_patch16_dinov3": {"global_pool": "token", "img_size": 224},
            "deit_small_distilled_patch16_224": {},
        }.items():
            made[f"timm {name}"] = lambda n=name, o=options: timm.create_model(n, **small, **o).eval()
        x = test_libraries.pixels()
    else:
        import maskable
        import vit_zoo

        names = [*vit_zoo.ZOO, *maskable.EXTRA]
        made = {f"Hugging Face {n}": lambda n=n: maskable.made(n) for n in names if n != "torch_encoder"}
        made["torch.nn.TransformerEncoder"] = lambda: maskable.made("torch_encoder")
        x = vit_zoo.pixels(2)
    rows = []
    for name, make in made.items():
        model = make()
        layer = readout_layer(model, x)
        if layer.block is None:
            rows.append([name, f"whole: {layer.reason}", "", ""])
            continue
        with torch.no_grad():
            plain = model(x)
            with readout_only(model, layer):
                short = model(x)
        maps = MaskGradient(model).attribute_targets(x, [0, 1])
        with mock.patch("xai.attr.base.readout_layer", lambda *_: ReadoutLayer(None)):
            expected = MaskGradient(model).attribute_targets(x, [0, 1])
        differences = [apart(plain.tolist(), short.tolist()), apart(expected.tolist(), maps.tolist())]
        rows.append([name, f"`{layer.block}`", *(f"{value:.0e}" for value in differences)])
    return rows


def rows_of_speed(rounds: int) -> list[list[str]]:
    """One row per case: against the earlier build, whole against short, and the agreement of the builds."""
    rows = []
    for case, (*given, target) in TARGETS.items():
        pairs = turns.by_turns(__file__, case, rounds)
        differences = [apart(*(turn.figures["values"] for turn in pair)) for pair in pairs]
        found, alone = turns.ratios(pairs), spread(whole_and_short(*given, rounds))
        met = "met" if found["median"] >= target else "missed"
        row = [case, f"≥ {target:g}", turns.percentiles(found), met, turns.percentiles(alone)]
        rows.append([*row, f"{max(differences):.0e}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    if "--families" in sys.argv:
        print(json.dumps(families()))
        return
    turns.serve({case: lambda given=given[:4]: job(*given)() for case, given in TARGETS.items()})
    options = turns.parser(str(__doc__).splitlines()[0], rounds=12).parse_args()
    tables = rows_of_speed(options.rounds)
    costs = {name: cost_of_finding_out(name) for name in ("demo", "ViT-B/16")}
    by_family = []
    for python, arguments in ((sys.executable, []), (str(INTEROP), ["--libraries"])):
        if Path(python).exists():
            command = [python, __file__, "--families", *arguments]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
            by_family += json.loads(done.stdout.splitlines()[-1])
    header = ["case", "target", "earlier build ÷ this one", "", "whole ÷ short in this build", "builds apart"]
    path = turns.publish(
        "last_layer",
        "The last layer for the read-out only",
        [
            "Ratios of CPU time, pair by pair: median (5th–95th percentile). Maps: the default method, two "
            "classes; curves: deletion and insertion in 28 steps (ViT-B/16 with mean colour: 14). Each case "
            f"{options.rounds} pairs after one that does not count. Against the earlier build counts "
            "everything that changed since; `whole ÷ short` is the last layer alone. `Apart` is the largest "
            "difference relative to the largest entry.",
            "Finding out, once per model, whether the answers are the same costs "
            + " and ".join(f"{cost:.1f} passes of one image ({name})" for name, cost in costs.items())
            + "; it is in none of the ratios.",
        ],
        header,
        tables,
    )
    lines = ["", "| model | last layer | logits apart | maps apart |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in by_family]
    path.write_text(path.read_text("utf-8") + "\n".join(lines) + "\n", "utf-8")
    print(path)


if __name__ == "__main__":
    main()
