"""docs/models.md: every architecture of tests/architectures × what explains it × how that was checked.

    PYTHONPATH=tests python -m benchmarks.matrix                         # make matrix
    PYTHONPATH=tests python -m benchmarks.matrix --only 'timm/swin*'     # some again, kept beside the others
    PYTHONPATH=tests python -m benchmarks.matrix --page                  # the page alone, of what was kept

Tiny models with random weights, each in a process of its own with a time limit; what fails is a row all the
same, with what was said. It runs in the environment of make test-interop.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image

import xai
from benchmarks.measure import in_fresh_process, merged
from xai.attr import capabilities
from xai.core import Explanation, XaiError
from xai.core.catalogue import ModelNeed
from xai.core.files import write_json
from xai.explanation.explainer import noise
from xai.metrics import evaluate
from xai.models import Classifier

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
RESULTS = ROOT / "attention_results" / "matrix.json"
LIBRARIES = {
    "huggingface": "Hugging Face",
    "timm": "timm",
    "open_clip": "open_clip",
    "torchvision": "torchvision",
}
PACKAGES = ("torch", "transformers", "timm", "open_clip_torch", "torchvision")
PROTOCOLS = ("vit", "rise")  # of cells, and of pixels
EXACT = 1e-5  # relative, of float32
LIMIT = 600  # seconds a row may take
PRELOADED = ["xai", "timm", "open_clip", "torchvision", "transformers", "architectures"]


def examined(job: Mapping[str, Any]) -> dict[str, Any]:
    """One row.

    Args:
        job: `name`, "LIBRARY/FAMILY".

    Returns:
        The name; then, as far as it comes, `regions`; `needs`: of each need None or why no method of it
        works; `default`: the method that explains where none is named; `curves`: areas by protocol;
        `attention`: recorded against the library's own; and `errors`: what failed, by step.
    """
    from architectures import ARCHITECTURES

    torch.set_num_threads(1)
    one = ARCHITECTURES[job["name"]]
    row: dict[str, Any] = {"name": one.name, "errors": {}}
    with TemporaryDirectory() as folder:
        try:
            classifier = one.load(Path(folder))
        except Exception as error:
            row["errors"]["load"] = _said(error)
            return row
        for step in (_regions, _needs, _default, _attention):
            try:
                row |= step(one, classifier, Path(folder), row)
            except Exception as error:
                row["errors"][step.__name__.strip("_")] = _said(error)
    return row


def _said(error: Exception) -> str:
    return " ".join(
        (error.message if isinstance(error, XaiError) else f"{type(error).__name__}: {error}").split()
    )


def _regions(one: Any, classifier: Classifier, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    grid = classifier.grid
    return {"regions": f"{grid.rows}×{grid.cols}" + (f"+{grid.prefix}" if grid.prefix else "")}


def _needs(one: Any, classifier: Classifier, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    found = capabilities.find_capabilities(classifier, noise(classifier))
    refusals = {need: found.refusal(need) for need in get_args(ModelNeed)}
    return {"needs": {need: None if why is None else _said(why) for need, why in refusals.items()}}


def picture(side: int) -> Image.Image:
    """Smooth coloured noise."""
    coarse = np.random.default_rng(1).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def _default(one: Any, classifier: Classifier, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    (explanation,) = xai.explain(picture(2 * one.size), classifier)
    maps = np.stack(list(explanation.maps.values()))
    if not np.isfinite(maps).all():
        raise ValueError("a map is not finite")
    if (np.ptp(maps, axis=(1, 2)) == 0).any():
        raise ValueError("a map is constant")
    return {
        "default": explanation.preset or explanation.method,
        "curves": _curves(one, classifier, explanation),
    }


def _curves(one: Any, classifier: Classifier, explanation: Explanation) -> dict[str, float]:
    pixels = classifier.preprocess(picture(2 * one.size))[None]
    label = explanation.predicted
    relevance = torch.from_numpy(explanation.maps[label])[None, None]
    areas = {}
    for protocol in PROTOCOLS:
        target = None if protocol == "rise" else classifier.labels.index(label)
        score = evaluate(classifier, ["deletion"], pixels, relevance, target, protocol, seed=0)["deletion"]
        if score.curve is None or not score.curve.isfinite().all() or float(np.ptp(score.curve.numpy())) == 0:
            raise ValueError(f"the curve under {protocol} is not finite, or flat")
        areas[protocol] = float(score.value)
    return areas


def _attention(one: Any, classifier: Classifier, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    from architectures.own_attention import compare, own_attention, recorded_attention

    if row.get("needs", {}).get("attention", "") is not None:
        return {}
    pixels = one.pixels(2)
    recorded = recorded_attention(classifier, pixels, 1)
    with TemporaryDirectory() as fresh:
        return {"attention": compare(recorded, own_attention(one, Path(fresh), pixels, 1))}


def explained(row: Mapping[str, Any]) -> bool:
    """Whether a default explanation and curves came of it."""
    return set(row.get("curves", ())) == set(PROTOCOLS)


def _yes(value: bool) -> str:
    return "yes" if value else "–"


def cells_of(row: Mapping[str, Any]) -> list[str]:
    """Of a row of the page, after the name."""
    needs = row.get("needs")
    if needs is None:
        return [_yes("regions" in row), row.get("regions", "–"), *["**failed**"] * 8]
    works = {need: why is None for need, why in needs.items()}
    windowed = works["attention"] and not works["global_attention"]
    return [
        _yes("load" not in row["errors"]),
        row.get("regions", "–"),
        row.get("default", "**failed**"),
        "yes" if explained(row) else "**failed**",
        _yes(works["gradients"]),
        _yes(works["feature_map"]),
        _yes(works["global_attention"]),
        _yes(windowed),
        _yes(works["read_out_token"]),
        _checked(row),
    ]


def _checked(row: Mapping[str, Any]) -> str:
    found = row.get("attention")
    if "attention" in row["errors"]:
        return "**failed**"
    if found is None:
        return "–"
    if not found["compared"]:
        return f"recorded only, {found['layers']} layers"
    what = "A and A ⊙ ∂y/∂A" if found["weighted"] == found["compared"] else "A"
    of = (
        f"{found['compared']} of {found['layers']}"
        if found["compared"] < found["layers"]
        else found["layers"]
    )
    said = f"{what}, {of} layers: {found['error']:.0e}"
    return said if found["error"] <= EXACT else f"**differs**, {said}"


HEAD = (
    "architecture", "loads", "regions", "default", "curves", "gradients", "feature map", "global attention",
    "windowed attention", "read-out token", "attention checked",
)  # fmt: skip
PREAMBLE = """# Models

Which image classifiers can be explained, and with what: `make matrix` tries every architecture below and
writes this page; `make test-interop` asserts it. The models are tiny and have random weights, but are the
libraries' own classes, saved and loaded as users do it, with the preprocessing that belongs to them. Any
other PyTorch module works by the same trials: no architecture is known by its name. `xai doctor --model M`
tells the same of one model, `xai methods --model M` lists the methods that work on it.

- **loads**: `xai.load` takes it, preprocessing included.
- **regions**: the grid that maps lie on, rows × columns, and special tokens before the patches; a default
  grid where no global attention shows patches. Any other can be said by `--grid`.
- **default**: what explains where no method is named: a preset (`faithful`, `one_pass`) or a method. It was
  run on an image; the map is finite and not constant.
- **curves**: that map's deletion curve under the protocols `vit` (cells) and `rise` (pixels) is finite and
  not flat.
- **gradients**, **feature map**, **global attention**, **windowed attention**, **read-out token**: whether
  the methods that need it work, see [methods.md](methods.md). Windowed attention means that keys of
  windows, of pooled tokens or of unlike stages were found in the image: gradient-weighted attention works,
  rollout and its kin have no meaning there.
- **attention checked**: recorded attention A, and A ⊙ ∂y/∂A, beside what the library itself computes in the
  open (`output_attentions` of transformers, timm without its fused call, the weights of
  `torch.nn.MultiheadAttention`, which stand outside the graph), by autograd: the largest difference
  relative to the largest entry. "Recorded only": the library shows none to compare with. Where keys lie in
  the image is tested apart from this, in `tests/attention`.
"""


def page(rows: list[dict[str, Any]], versions: Mapping[str, str]) -> str:
    """docs/models.md."""
    made = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = [PREAMBLE, f"Made with {made}.", "", *_counts(rows)]
    for library, title in LIBRARIES.items():
        of_library = [row for row in rows if row["name"].startswith(f"{library}/")]
        lines += [
            "",
            f"## {title}",
            "",
            *_table(HEAD, [[_family(row), *cells_of(row)] for row in of_library]),
        ]
    failures = [(row["name"], step, said) for row in rows for step, said in row["errors"].items()]
    lines += ["", "## What failed", ""]
    lines += [f"- {name}, {step}: {said}" for name, step, said in failures] or ["Nothing."]
    lines += ["", "## What does not work, and why", "", *_reasons(rows)]
    return "\n".join(lines) + "\n"


def _family(row: Mapping[str, Any]) -> str:
    return row["name"].partition("/")[2]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _counts(rows: list[dict[str, Any]]) -> list[str]:
    table = []
    for library, title in LIBRARIES.items():
        of_library = [row for row in rows if row["name"].startswith(f"{library}/")]
        cells = [cells_of(row) for row in of_library]
        exact = [row["attention"] for row in of_library if row.get("attention", {}).get("compared")]
        table.append(
            [
                title,
                str(len(of_library)),
                str(sum(one[0] == "yes" for one in cells)),
                str(sum(explained(row) for row in of_library)),
                *(str(sum(one[i] == "yes" for one in cells)) for i in range(4, 9)),
                str(sum(one["error"] <= EXACT for one in exact)),
            ]
        )
    head = ("library", "tried", "load", "default and curves", *HEAD[5:10], f"attention equal to {EXACT:.0e}")
    return _table(head, table)


def _reasons(rows: list[dict[str, Any]]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for need, why in row.get("needs", {}).items():
            if why is not None:
                found[need.replace("_", " "), why].append(row["name"])
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (need, why), names in found.items():
        alike[why, ", ".join(names)].append(need)
    return [f"- {', '.join(needs)}: “{why}” {names}." for (why, names), needs in alike.items()] or [
        "Nothing."
    ]


def main() -> None:
    from architectures import ARCHITECTURES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", default=["*"], help="names, with wildcards")
    parser.add_argument("--page", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    versions = {name: version(name) for name in PACKAGES}
    jobs = [{"name": name} for name in ARCHITECTURES]
    chosen = [job for job in jobs if any(fnmatch(job["name"], pattern) for pattern in arguments.only)]
    for job in [] if arguments.page else chosen:
        row = in_fresh_process(examined, job, LIMIT, PRELOADED)
        row = row if "errors" in row else {"name": row["name"], "errors": {"row": row["error"]}}
        print(f"{job['name']}: {', '.join(row['errors']) or row['default']}", flush=True)
        kept = {"header": versions, "results": []}
        if RESULTS.is_file():
            kept = json.loads(RESULTS.read_text("utf-8"))
        rows = merged(kept, [row], versions, jobs, lambda one: one["name"])
        RESULTS.parent.mkdir(exist_ok=True)
        write_json(RESULTS, {"header": versions, "results": rows})
    rows = json.loads(RESULTS.read_text("utf-8"))["results"]
    if len(rows) < len(jobs):
        raise SystemExit(
            f"{len(rows)} of {len(jobs)} architectures were tried: run the others, then the page."
        )
    PAGE.write_text(page(rows, versions), "utf-8")


if __name__ == "__main__":
    main()
