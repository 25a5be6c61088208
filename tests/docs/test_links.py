"""Every relative link of the documents leads to a file that is committed, every anchor to a heading."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)|<(?:img|a)\b[^>]*\b(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def committed() -> set[str]:
    """Files of the repository, and their folders; of an unpacked archive, all that it holds."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    if git.returncode:
        files = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    else:
        files = [Path(name) for name in git.stdout.decode().splitlines() if (ROOT / name).is_file()]
    return {str(place) for path in files for place in (path, *path.parents)}


FILES = committed()
DOCUMENTS = sorted(name for name in FILES if name.endswith(".md"))


def prose(text: str) -> str:
    return FENCE.sub("", text)


def links(text: str) -> list[str]:
    found = [one or other for one, other in LINK.findall(re.sub(r"`[^`\n]*`", "", prose(text)))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings: small letters, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(link: str, document: Path) -> bool:
    target, _, anchor = unquote(link).partition("#")
    place = (document.parent / target).resolve() if target else document
    if not place.is_relative_to(ROOT) or str(place.relative_to(ROOT)) not in FILES:
        return False
    return not anchor or place.suffix != ".md" or anchor in anchors(place.read_text("utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    assert [link for link in links(path.read_text("utf-8")) if not leads_somewhere(link, path)] == []


def test_links_and_anchors_are_read_as_they_are_drawn() -> None:
    text = '# A `b`, c!\n[x](y.md#z) ![i](p.png) <img src="q.png"> [o](https://a.b)\n```\n[no](no.md)\n```\n`[n](n)`\n'
    assert links(text) == ["y.md#z", "p.png", "q.png"]
    assert anchors(text) == {"a-b-c"}
