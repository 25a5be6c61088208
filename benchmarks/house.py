"""How large the code is, and how hard to walk through: figures that say when it grows or tangles.

    python benchmarks/house.py               # a table, after an explanation with the shipped detector
    python benchmarks/house.py --out FILE    # also as JSON, to compare two states

Lines and files by room; the lengths of functions; circles of imports between files, counting those under
TYPE_CHECKING and inside functions too; class names defined more than once; annotations that say
`Mapping[str, Any]` or `dict[str, Any]`; the modules that one image enters on its way through `xai explain`;
and in how many files a method, an operator and a metric are named, which is what adding one costs.
"""

import argparse
import ast
import io
import json
import re
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xai"
EXAMPLES = {  # of the size of what people add: class, registry name
    "method": ("InputXGradient", "input_x_gradient"),
    "operator": ("Blur", "blur"),
    "metric": ("gini", "gini"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    out = parser.parse_args().out
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    found = measure(trees)
    print(to_text(found))
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def measure(trees: dict[Path, ast.Module]) -> dict[str, Any]:
    """Everything, JSON-ready."""
    lengths = [length for tree in trees.values() for length in function_lengths(tree)]
    return {
        "rooms": rooms(trees),
        "functions": {
            "count": len(lengths),
            "median_lines": statistics.median(lengths),
            "p95_lines": statistics.quantiles(lengths, n=20)[-1],
            "longest_lines": max(lengths),
        },
        "circles": circles({name_of(path): imports(path, tree) for path, tree in trees.items()}),
        "homonymous_classes": homonyms(trees),
        "untyped_mappings": untyped(trees),
        "modules_entered_by_one_explain": entered(),
        "cost_of_adding": {kind: cost(trees, *names) for kind, names in EXAMPLES.items()},
    }


def rooms(trees: dict[Path, ast.Module]) -> dict[str, dict[str, int]]:
    """Lines and files by folder of the package."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"files": 0, "lines": 0, "largest": 0})
    for path in trees:
        lines = len(path.read_text("utf-8").splitlines())
        for room in (room_of(path), "all"):
            found[room]["files"] += 1
            found[room]["lines"] += lines
            found[room]["largest"] = max(found[room]["largest"], lines)
    return dict(found)


def room_of(path: Path) -> str:
    inside = path.relative_to(PACKAGE).parts
    return inside[0] if len(inside) > 1 else "xai"


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def function_lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of every function, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            first = node.body[0]
            said = first.end_lineno - first.lineno + 1 if _is_docstring(first) and first.end_lineno else 0
            yield node.end_lineno - node.lineno + 1 - said


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def imports(path: Path, tree: ast.Module) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "xai":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if _is_module(inner) else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "xai"}
    return found - {name_of(path)}


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of files each of which imports every other one, directly or through others."""
    reach = {name: _reachable(name, graph) for name in graph}
    found = {
        frozenset(other for other in reach[name] if name in reach.get(other, ()))
        for name in graph
        if name in reach[name]
    }
    return sorted(sorted(circle) for circle in found)


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph.get(name, ())
    return seen


def homonyms(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Class names that several files define at their top level."""
    names = Counter(
        node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    return {name: count for name, count in sorted(names.items()) if count > 1}


def untyped(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Annotations `dict[str, Any]` and `Mapping[str, Any]` by room."""
    found: Counter[str] = Counter()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and ast.unparse(node) in (
                "dict[str, Any]",
                "Mapping[str, Any]",
            ):
                found[room_of(path)] += 1
                found["all"] += 1
    return dict(sorted(found.items()))


def cost(trees: dict[Path, ast.Module], class_name: str, name: str) -> dict[str, Any]:
    """Lines of the class, and the files of code, documents and configurations that name it."""
    lines = next(
        (node.end_lineno or 0) - node.lineno + 1
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == class_name
    )
    said = re.compile(rf"\"{name}\"|`{name}`|\b{class_name}\b")
    listed = re.compile(rf"(?m)(^|[\[ ,:]){name}([\],: ]|$)")
    files = [
        str(path.relative_to(ROOT))
        for path in [*trees, *(ROOT / "docs").glob("*.md")]
        if said.search(_text(path))
    ]
    configs = (ROOT / "configs").rglob("*.yaml")
    files += [str(path.relative_to(ROOT)) for path in configs if listed.search(_text(path))]
    return {"example": name, "lines": lines, "files": files}


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def entered() -> int:
    """Modules of the package of which a function runs while the command explains one image."""
    from xai.cli.main import app
    from xai.data import shipped_samples

    path = shipped_samples()[0].path
    modules: set[str] = set()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            name = frame.f_globals.get("__name__", "")
            if name.split(".")[0] == "xai":
                modules.add(name)

    with (
        tempfile.TemporaryDirectory() as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        options = ["--method", "gradient_weighted_attention", "--out", folder]
        # the first run loads libraries and registers methods, which is not the way of the image
        app(["explain", str(path), *options], standalone_mode=False)
        sys.setprofile(note)
        try:
            app(["explain", str(path), *options], standalone_mode=False)
        finally:
            sys.setprofile(None)
    return len(modules)


def to_text(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| room | files | lines | largest file | untyped mappings |", "|---|---:|---:|---:|---:|"]
    for room, size in sorted(found["rooms"].items(), key=lambda item: (item[0] == "all", item[0])):
        mappings = found["untyped_mappings"].get(room, 0)
        lines.append(f"| {room} | {size['files']} | {size['lines']} | {size['largest']} | {mappings} |")
    said = found["functions"]
    twice = ", ".join(f"{name} ×{count}" for name, count in found["homonymous_classes"].items())
    lines += [
        "",
        f"- functions: {said['count']}, median {said['median_lines']:.0f} lines, 95th percentile "
        f"{said['p95_lines']:.0f}, longest {said['longest_lines']}",
        f"- modules entered by one explain: {found['modules_entered_by_one_explain']}",
        f"- circles of imports: {len(found['circles'])}",
        *(f"  - {', '.join(circle)}" for circle in found["circles"]),
        f"- class names defined more than once: {len(found['homonymous_classes'])} ({twice})",
    ]
    for kind, one in found["cost_of_adding"].items():
        lines.append(
            f"- {kind} ({one['example']}): {one['lines']} lines, named in {len(one['files'])} files: "
            + ", ".join(one["files"])
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
