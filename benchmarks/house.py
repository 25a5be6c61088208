"""How large the code is, and how hard to walk through: figures that say when it grows or tangles.

    python benchmarks/house.py               # a table, after an explanation with the shipped detector
    python benchmarks/house.py --out FILE    # also as JSON, to compare two states

Lines and files by room, and by the rooms inside of one; the lengths of functions; circles of imports between
files, counting those under TYPE_CHECKING and inside functions too; class names defined more than once;
annotations that say `Mapping[str, Any]` or `dict[str, Any]`; the modules that one image enters on its way
through `xai explain`; what adding a method, an operator or a metric costs: the lines of an example, the files
that were edited for it, and those that `make docs` writes; and the size of a checkout.
"""

import argparse
import ast
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xai"
UNTYPED = ("dict[str, Any]", "Mapping[str, Any]")
EXAMPLES = {  # of the size of what people add: class or function, registry name
    "method": ("InputXGradient", "input_x_gradient"),
    "operator": ("Blur", "blur"),
    "metric": ("gini", "gini"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    out = parser.parse_args().out
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    figures = measure(trees)
    print(to_text(figures))
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


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
        "imports_inside_functions": local_imports(trees),
        "homonymous_classes": homonyms(trees),
        "untyped_mappings": untyped(trees),
        "modules_entered_by_one_explain": entered(),
        "cost_of_adding": {kind: cost(trees, kind, *names) for kind, names in EXAMPLES.items()},
        "checkout_megabytes": checkout(),
    }


def rooms(trees: dict[Path, ast.Module]) -> dict[str, dict[str, int]]:
    """Lines and files by folder of the package, folders inside of one counted in both."""
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: {"files": 0, "lines": 0, "largest": 0})
    for path in trees:
        lines = len(path.read_text("utf-8").splitlines())
        for room in (*rooms_of(path), "all"):
            sizes[room]["files"] += 1
            sizes[room]["lines"] += lines
            sizes[room]["largest"] = max(sizes[room]["largest"], lines)
    return dict(sizes)


def rooms_of(path: Path) -> list[str]:
    """The folders that hold a file: bench and bench/run; "xai" for files of the package itself."""
    folders = path.relative_to(PACKAGE).parts[:-1]
    return ["/".join(folders[: depth + 1]) for depth in range(len(folders))] or ["xai"]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def function_lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of every function, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            first = node.body[0]
            text = first.end_lineno - first.lineno + 1 if _is_docstring(first) and first.end_lineno else 0
            yield node.end_lineno - node.lineno + 1 - text


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def imports(path: Path, tree: ast.Module) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    return {module for node in ast.walk(tree) for module in _imported(node)} - {name_of(path)}


def _imported(node: ast.AST) -> Iterator[str]:
    """Modules of the package that an import statement names."""
    if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "xai":
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if _is_module(inner) else node.module
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "xai")


def local_imports(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Imports of the package's own modules inside of functions, by room."""
    counts: Counter[str] = Counter()
    for path, tree in trees.items():
        inside = {
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
            if any(_imported(node))
        }
        counts[rooms_of(path)[0]] += len(inside)
    return {room: count for room, count in sorted(counts.items()) if count}


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of files each of which imports every other one, directly or through others."""
    reach = {name: _reachable(name, graph) for name in graph}
    sets = {
        frozenset(other for other in reach[name] if name in reach.get(other, ()))
        for name in graph
        if name in reach[name]
    }
    return sorted(sorted(circle) for circle in sets)


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += graph.get(name, ())
    return reached


def homonyms(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Class names that several files define at their top level."""
    names = Counter(
        node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    return {name: count for name, count in sorted(names.items()) if count > 1}


def untyped(trees: dict[Path, ast.Module]) -> dict[str, int]:
    """Annotations `dict[str, Any]` and `Mapping[str, Any]` by room."""
    counts: Counter[str] = Counter()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript) and ast.unparse(node) in UNTYPED:
                counts.update([*rooms_of(path), "all"])
    return dict(sorted(counts.items()))


def cost(trees: dict[Path, ast.Module], kind: str, class_name: str, name: str) -> dict[str, Any]:
    """Lines of the example, files of the package that hold or import it, files that `make docs` writes."""
    (defined, lines), *more = [
        (path, (node.end_lineno or 0) - node.lineno + 1)
        for path, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == class_name
    ]
    if more:
        raise ValueError(f"{class_name} is defined more than once")
    edited = [path for path, tree in trees.items() if path == defined or _imports_name(tree, class_name)]
    return {
        "example": name,
        "lines": lines,
        "edited": [_relative(path) for path in edited],
        "written_by_make_docs": [_relative(path) for path in written_for(kind, name)],
    }


def _imports_name(tree: ast.Module, name: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names)
        for node in ast.walk(tree)
    )


def written_for(kind: str, name: str) -> list[Path]:
    """Files that `make docs` would write if there were another: tried with a copy of the example."""
    import documents

    from xai.attr import METHODS
    from xai.metrics import METRICS
    from xai.perturb import OPERATORS

    registry: Any = {"method": METHODS, "operator": OPERATORS, "metric": METRICS}[kind]
    example, copy = registry[name], f"another_{name}"
    entries, before = registry._entries, dict(documents.generated())
    if kind == "metric":
        added: Any = replace(example, name=copy)
    else:
        names = {"info": replace(example.info, name=copy)} if kind == "method" else {"name": copy}
        added = type(copy, (example,), {"__doc__": example.__doc__, **names})
    registry._entries = {**entries, copy: added}
    try:
        after = dict(documents.generated())
    finally:
        registry._entries = entries
    return [path for path, text in after.items() if text != before[path]]


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def checkout() -> dict[str, float]:
    """Megabytes of the files that a shallow clone holds, by folder at the top."""
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603
    sizes: Counter[str] = Counter()
    for name in filter(None, listed.decode().split("\0")):
        if (path := ROOT / name).is_file():
            folder = name.split("/")[0] if "/" in name else "at the top"
            sizes.update({place: path.stat().st_size for place in (folder, "all")})
    return {folder: round(size / 1e6, 2) for folder, size in sizes.most_common()}


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
        threading.setprofile(note)  # pictures are drawn in a thread of their own
        sys.setprofile(note)
        try:
            app(["explain", str(path), *options], standalone_mode=False)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return len(modules)


def to_text(figures: dict[str, Any]) -> str:
    """The figures as Markdown, in ASCII."""
    lines = ["| room | files | lines | largest file | untyped mappings |", "|---|---:|---:|---:|---:|"]
    for room, size in sorted(figures["rooms"].items(), key=lambda item: (item[0] == "all", item[0])):
        mappings = figures["untyped_mappings"].get(room, 0)
        lines.append(f"| {room} | {size['files']} | {size['lines']} | {size['largest']} | {mappings} |")
    functions = figures["functions"]
    lines += [
        "",
        f"- functions: {functions['count']}, median {functions['median_lines']:.0f} lines, 95th percentile "
        f"{functions['p95_lines']:.0f}, longest {functions['longest_lines']}",
        f"- modules entered by one explain: {figures['modules_entered_by_one_explain']}",
        f"- circles of imports: {len(figures['circles'])}",
        *(f"  - {', '.join(circle)}" for circle in figures["circles"]),
        f"- imports of the package inside of functions: {_counts(figures['imports_inside_functions'])}",
        f"- class names defined more than once: {_counts(figures['homonymous_classes'])}",
    ]
    for kind, one in figures["cost_of_adding"].items():
        edited, written = one["edited"], one["written_by_make_docs"]
        lines.append(
            f"- a new {kind} like {one['example']}: {one['lines']} lines, its test, and {len(edited)} files "
            f"({', '.join(edited)}); `make docs` writes {len(written)} ({', '.join(written)})"
        )
    lines.append(f"- checkout, MB: {_counts(figures['checkout_megabytes'])}")
    return "\n".join(lines)


def _counts(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


if __name__ == "__main__":
    main()
