"""What sdist and wheel hold, and whether the wheel's modules can be imported where no extra is installed."""

import sys
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

MOST = 14_000_000  # bytes of either; 8 MB are the shipped detector
ROOTS = ("benchmarks", "configs", "docs", "tests", "xai")
FILES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
         "constraints.txt", "constraints-interop.txt", "mkdocs.yml", "pyproject.toml")  # fmt: skip
MADE = {"PKG-INFO", ".gitignore"}  # what the build adds
NEED_EXTRAS = {"starlette", "uvicorn"}  # of whole modules; others are imported when used


def check(holds: bool, words: str) -> None:
    """Stop with these words unless it holds."""
    if not holds:
        sys.exit(f"The package: {words}")


def check_files(path: Path, inside: set[str], wanted: set[str]) -> None:
    """A file holds exactly what it should, and nothing bulky."""
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size / 1e6:.1f} MB, {len(inside)} files\n")
    check(size <= MOST, f"{path.name} has more than {MOST / 1e6:.0f} MB. Is something bulky in it?")
    lacks, besides = sorted(wanted - inside), sorted(inside - wanted)
    check(not lacks and not besides, f"{path.name} lacks {lacks} and has besides {besides}.")


def check_archives(dist: Path, repository: Path) -> None:
    """The sdist has all but reports, findings and what serves the repository; the wheel has the package."""
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    paths = [path for root in ROOTS for path in (repository / root).rglob("*") if path.is_file()]
    wanted = {path.relative_to(repository).as_posix() for path in paths if "__pycache__" not in path.parts}
    with tarfile.open(sdist) as archive:
        inside = {one.name.partition("/")[2] for one in archive if one.isfile()} - MADE
    check_files(sdist, inside, wanted | set(FILES))
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    check_files(wheel, inside, {name for name in wanted if name.startswith("xai/")})


def check_imports() -> None:
    """Every module can be imported, or lacks what only an extra brings; `import xai` alone is light."""
    import xai

    check("site-packages" in (xai.__file__ or ""), f"{xai.__file__} was imported, which is not the wheel's.")
    check("torch" not in sys.modules, "import xai imports torch.")
    for module in walk_packages(xai.__path__, "xai."):
        try:
            if module.name != "xai.__main__":
                import_module(module.name)
        except ModuleNotFoundError as error:
            check(error.name in NEED_EXTRAS, f"{module.name} needs {error.name}, which is in no extra.")


check_archives(Path(sys.argv[1]), Path(sys.argv[2]))
check_imports()
