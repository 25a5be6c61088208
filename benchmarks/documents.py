"""Writes anew what documents and configurations say of the code.

    python benchmarks/documents.py           # make docs
    python benchmarks/documents.py --check   # names stale files, exit code 1; part of make check

From the registries: docs/methods.md, docs/metrics.md, xai/core/catalogue.json. From the models:
docs/report.schema.json, configs/benchmark.schema.json, configs/survey.schema.json. And a method that no
benchmark of all methods names is entered in one, with its default options.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from math import inf
from pathlib import Path

import yaml

from xai.attr import METHODS, PRESETS, MethodInfo, full_options
from xai.attr.catalogue import to_markdown as methods_document
from xai.bench import json_schema as benchmark_schema
from xai.bench import survey_json_schema
from xai.core.catalogue import FILE as CATALOGUE
from xai.core.catalogue import MetricFacts
from xai.metrics import METRICS, PROTOCOLS, MetricInfo, Protocol, list_metrics
from xai.perturb import OPERATORS
from xai.report.payload import json_schema as report_schema

ROOT = Path(__file__).resolve().parents[1]
CONTROLS = {"raw_attention"}  # of no control's family, but run as one

NEEDS = {
    "perturbation": "perturbed forward passes of the model, under a protocol",
    "map": "the map alone",
    "mask": "the map, and a mask of what it should find",
    "clicks": "the map, and points where people saw what it should find",
    "class": "the maps of two classes",
    "method": "the method itself, called again",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    check = parser.parse_args().check
    stale = {path: text for path, text in generated() if not path.is_file() or _text(path) != text}
    for path, text in stale.items():
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}", file=sys.stderr)
        if not check:
            path.write_text(text, "utf-8")
    if check and stale:
        print("Run: make docs", file=sys.stderr)
    return int(check and bool(stale))


def generated() -> Iterator[tuple[Path, str]]:
    """Each file with the text it should have."""
    yield CATALOGUE, catalogue_of_registries()
    yield ROOT / "docs" / "methods.md", methods_document()
    yield ROOT / "docs" / "metrics.md", metrics_document()
    yield ROOT / "docs" / "report.schema.json", json.dumps(report_schema(), indent=1) + "\n"
    yield ROOT / "configs" / "benchmark.schema.json", benchmark_schema()
    yield ROOT / "configs" / "survey.schema.json", survey_json_schema()
    yield from benchmarks_of_all_methods(
        ROOT / "configs" / "methods.yaml",
        ROOT / "configs" / "methods_costly.yaml",
        others=(),
        costly=lambda info: info.family == "perturbation",
    )
    published = ROOT / "configs" / "clip_forgery"
    first = (published / "forged.yaml", published / "costly.yaml")
    yield from benchmarks_of_all_methods(
        *first,
        others=[path for path in sorted(published.glob("*.yaml")) if path not in first],
        costly=lambda info: info.family == "perturbation" or info.forwards + info.backwards > 20,
    )


def catalogue_of_registries() -> str:
    """What `xai.core.catalogue` reads: this package's methods, presets and metrics."""
    methods = {name: one for name, one in METHODS.registered.items() if one.__module__.startswith("xai.")}
    facts = [field.name for field in fields(MetricFacts)]
    content = {
        "methods": [asdict(one.info) for one in methods.values()],
        "options": {name: full_options(name, {}) for name in methods},
        "presets": {
            name: {"method": one.method, "options": full_options(one.method, one.options)}
            for name, one in PRESETS.items()
        },
        "metrics": [
            {name: getattr(info, name) for name in facts}
            for info in METRICS.registered.values()
            if getattr(info.function, "__module__", "").startswith("xai.")
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def benchmarks_of_all_methods(
    plain: Path, expensive: Path, others: Sequence[Path], costly: Callable[[MethodInfo], bool]
) -> Iterator[tuple[Path, str]]:
    """Two configurations with a line for every method that neither they nor the others name."""
    named = {name for path in (plain, expensive, *others) for name in methods_of(path)}
    missing = [
        method.info
        for name, method in METHODS.items()
        if method.info.family != "control" and name not in named | CONTROLS
    ]
    yield plain, with_methods(_text(plain), [info.name for info in missing if not costly(info)])
    yield expensive, with_methods(_text(expensive), [info.name for info in missing if costly(info)])


def methods_of(path: Path) -> list[str]:
    """Registry names of the methods that a configuration compares."""
    entries = yaml.safe_load(_text(path)).get("methods", [])
    return [entry["method"] if isinstance(entry, Mapping) else entry for entry in entries]


def with_methods(text: str, names: Sequence[str]) -> str:
    """A configuration with these at the end of its methods; its comments stay."""
    listed = re.search(r"^methods:\n(?:[ #].*\n)+", text, re.MULTILINE)
    if listed is None:
        raise ValueError("The configuration has no list of methods.")
    return text[: listed.end()] + "".join(f"  - {name}\n" for name in names) + text[listed.end() :]


def metrics_document() -> str:
    """Metrics, operators and protocols as a document, made from what they say of themselves."""
    blocks = [
        "# Metrics, operators, protocols",
        "Generated from the registries by `make docs`; do not edit. What they mean together: "
        "[benchmark](benchmark.md). In equations: [equations](equations.md). Attacks instead of removal: "
        "[adversarial](adversarial.md).",
        "## Metrics",
        *_metrics(),
        "## Operators",
        "What stands where patches, pixels or segments are removed.",
        _table(["operator", "what stands there", "parameters"], _operators()),
        "## Protocols",
        "Everything that decides a number is in the hash; numbers of different hashes never share a table.",
        _table(["protocol", "hash", "removes", "operator", "steps", "reads", "of the class"], _protocols()),
        "\n".join(f"- `{name}`: {one.reference}" for name, one in PROTOCOLS.items() if one.name == name),
    ]
    return "\n\n".join(blocks) + "\n"


def _metrics() -> Iterator[str]:
    infos = list_metrics()
    for needs, meaning in NEEDS.items():
        yield f"From {meaning}:"
        rows = [_metric(info) for info in infos if info.needs == needs]
        yield _table(["metric", "better", "range", "what it measures", "reference"], rows)


def _metric(info: MetricInfo) -> list[str]:
    low, high = info.range
    bounds = f"{-inf if low is None else low:g} … {inf if high is None else high:g}"
    return [
        f"`{info.name}`",
        "higher" if info.higher_is_better else "lower",
        bounds.replace("inf", "∞").replace("-", "−"),
        info.summary,
        info.reference,
    ]


def _operators() -> Iterator[list[str]]:
    for name, operator in OPERATORS.items():
        parameters = inspect.signature(operator).parameters.values()
        options = ", ".join(f"`{one.name}={one.default!r}`" for one in parameters)
        yield [f"`{name}`", (operator.__doc__ or "").strip().partition("\n")[0], options]


def _protocols() -> Iterator[list[str]]:
    for name, one in PROTOCOLS.items():
        also = [other for other, same in PROTOCOLS.items() if same is one and other != one.name]
        if name != one.name:
            continue
        yield [
            " = ".join(f"`{each}`" for each in (name, *also)),
            f"`{one.hash}`",
            {"patch": "patches", "pixel": "pixels", "segment": "segments"}[one.unit],
            f"`{one.operator.name}`",
            _steps(one),
            one.value,
            one.target,
        ]


def _steps(one: Protocol) -> str:
    if one.steps is not None:
        return str(one.steps)
    return f"{one.step_units} a step" if one.step_units is not None else "shares listed"


def _table(header: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _text(path: Path) -> str:
    return path.read_text("utf-8")


if __name__ == "__main__":
    sys.exit(main())
