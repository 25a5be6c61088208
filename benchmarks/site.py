"""What `make site` adds to mkdocs: a hook, named in mkdocs.yml.

Documents are written to be read in the repository, where they link to reports, configurations and code
beside docs/. Whatever is linked, and what that links to, becomes part of the site: Markdown as a page, other
text as a page that shows it, a folder as a list, anything else as it is. Pages of the reference are made of
the public names of each room, notebooks are run and shown with what they print, and LaTeX becomes MathML.
"""

import re
from collections.abc import Iterator
from html import escape, unescape
from importlib import import_module
from inspect import getdoc, isfunction, signature
from pathlib import Path
from posixpath import normpath, relpath
from tempfile import TemporaryDirectory
from types import ModuleType
from urllib.parse import unquote

import nbformat
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CODE = {".yaml": "yaml", ".toml": "toml", ".json": "json", ".py": "python", ".sh": "bash", "": "text"}
LEAVES = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`|(\[[^\]\[]*\]\()([^)\s]+)(\))", re.MULTILINE | re.DOTALL)
MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
OUTPUTS: list[str] = []  # of the cells of notebooks
HIDDEN = "---\nsearch: {exclude: true}\n---\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Enters notebooks, the reference, and what documents link to beside docs/."""
    for path in sorted((DOCS / "notebooks").glob("*.ipynb")):
        files.remove(files.src_uris[f"notebooks/{path.name}"])
        _enter(files, config, f"notebooks/{path.stem}.md", notebook(path))
    for name, text in reference():
        _enter(files, config, f"api/{name}.md", text)
    seen: set[Path] = set()
    new = sorted(DOCS.rglob("*.md"))
    while new:
        seen.update(new)
        new = sorted({target for path in new for target in _targets(path)} - seen)
        for path in new:
            uri = _uri(path)
            if uri in files.src_uris:
                continue
            if path.is_dir():
                _enter(files, config, uri, _listing(path))
            elif path.suffix in CODE:
                fence = f"````{CODE[path.suffix]}\n{path.read_text('utf-8')}\n````\n"
                _enter(files, config, uri, f"{HIDDEN}# {path.name}\n\n{fence}")
            else:
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links of the repository into those of the site."""
    source = _source(page.file)

    def turned(found: re.Match[str]) -> str:
        target = _linked(source, found[3] or "")
        if target is None or not target.exists():
            return found[0]
        anchor = found[3].partition("#")[1:]
        uri = relpath(_uri(target), normpath(f"{page.file.src_uri}/.."))
        return f"{found[2]}{uri}{''.join(anchor)}{found[4]}"

    return LEAVES.sub(turned, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML, which browsers draw by themselves; what the cells of notebooks show."""
    html = re.sub(r"<p>OUTPUT(\d+)END</p>", lambda found: OUTPUTS[int(found[1])], html)
    return MATH.sub(lambda found: _formula(found[2], found[1] == "div"), html)


def reference() -> Iterator[tuple[str, str]]:
    """The reference: an overview, and a page for each room but the command line."""
    rooms = sorted(path.parent.name for path in (ROOT / "xai").glob("*/__init__.py"))
    rooms = [name for name in rooms if name != "cli"]
    yield "index", _reference_of("xai") + "\n\n".join(["## Rooms", *map(_room_line, rooms)])
    for room in rooms:
        yield room, _reference_of(f"xai.{room}")


def notebook(path: Path) -> str:
    """A notebook, run, as Markdown with what its cells show."""
    book = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        NotebookClient(book, timeout=300, resources={"metadata": {"path": folder}}).execute()
    parts = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        else:
            parts += [f"```python\n{cell.source}\n```", *map(_output, cell.outputs)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: nbformat.NotebookNode) -> str:
    """A word that stands for what a cell shows, until the page is HTML."""
    data = output.get("data", {})
    if "text/html" in data:
        html = data["text/html"]
    elif "image/png" in data:
        html = f'<img alt="" src="data:image/png;base64,{data["image/png"]}">'
    else:
        html = f"<pre>{escape(output.get('text') or data.get('text/plain', ''))}</pre>"
    OUTPUTS.append(f'<div class="output">{html}</div>')
    return f"OUTPUT{len(OUTPUTS) - 1}END"


def _formula(text: str, block: bool) -> str:
    drawn = convert(unescape(text), display="block" if block else "inline")
    return f'<div style="overflow-x: auto">{drawn}</div>' if block else drawn


def _reference_of(name: str) -> str:
    """A room's docstring, and what it offers."""
    room = import_module(name)
    summary, _, rest = (room.__doc__ or "").strip().partition("\n")
    names = [_entry(name, one, getattr(room, one)) for one in _public(room)]
    return "\n\n".join([f"# {name}", summary, rest.strip(), *names]) + "\n"


def _entry(room: str, name: str, value: object) -> str:
    """What mkdocstrings reads of a name; functions that are made at run time say it themselves."""
    if not isfunction(value) or value.__code__.co_name == name:
        return f"::: {room}.{name}\n"
    call = f"{name}({', '.join(signature(value).parameters)})"
    return f"## {name}\n\n```python\n{call}\n```\n\n```text\n{getdoc(value)}\n```\n"


def _public(room: ModuleType) -> list[str]:
    """Names in `__all__`, or those that the room imports by name."""
    own = [name for name, value in vars(room).items() if name[0] != "_" and not isinstance(value, ModuleType)]
    return sorted(getattr(room, "__all__", own), key=lambda name: (name.isupper(), name.lower()))


def _room_line(room: str) -> str:
    summary = (import_module(f"xai.{room}").__doc__ or "").strip().partition("\n")[0]
    return f"[xai.{room}]({room}.md): {summary}"


def _linked(source: Path, link: str) -> Path | None:
    """The file of the repository that a link of a document leads to, whether it is there or not."""
    target = unquote(link).partition("#")[0]
    if not target or re.match("[a-z]+:", target):
        return None
    path = Path(normpath(source.parent / target))
    return path if path.is_relative_to(ROOT) else None


def _targets(path: Path) -> Iterator[Path]:
    """What a document, or the list of a folder, leads to."""
    if path.is_dir():
        yield from (one for one in path.iterdir() if one.suffix in {*CODE, ".md"})
    elif path.suffix == ".md":
        for found in LEAVES.finditer(path.read_text("utf-8")):
            target = _linked(path, found[3] or "")
            if target is not None and target.exists():
                yield target


def _uri(path: Path) -> str:
    """Where a file of the repository stands in the site."""
    if path == ROOT / "README.md":
        return "index.md"
    place = path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()
    if path.is_dir():
        return f"{place}/{'README' if (path / 'README.md').is_file() else 'index'}.md"
    return f"{place}.md" if path.suffix in CODE and not path.is_relative_to(DOCS) else place


def _source(file: File) -> Path:
    """Where links of a page are reckoned from: the file of the repository that it was made of."""
    place, beside = DOCS / file.src_uri, ROOT / file.src_uri
    return place if place.exists() or not beside.parent.is_dir() else beside


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in _targets(folder))
    return f"{HIDDEN}# {folder.name}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def _enter(files: Files, config: MkDocsConfig, uri: str, content: str) -> None:
    files.append(File.generated(config, uri, content=content))
