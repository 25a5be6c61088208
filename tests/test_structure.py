"""The shape of the package, of which import-linter sees all but the imports for types alone."""

import ast

from benchmarks.house import PACKAGE, circles, imports, name_of


def test_no_files_import_each_other_in_a_circle():
    """Also not through TYPE_CHECKING or inside functions: such files are one idea in several places."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert circles({name_of(path): imports(path, tree) for path, tree in trees.items()}) == []
