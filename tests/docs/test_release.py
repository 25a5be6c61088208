"""What is said of the version and the extras in several files agrees."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest and citation["version"] == newest[1] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in PROJECT["authors"]]


def test_the_image_is_made_of_files_and_extras_that_there_are() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    extras = re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert extras and set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    copied = [name for names in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in names.split()]
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert copied and all((ROOT / name).exists() and name not in ignored for name in copied)
    # what the build reads besides the package
    assert {"pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]} <= set(copied)
    (python,) = re.findall(r"^FROM python:([\d.]+)", text, re.MULTILINE)
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_documents_name_every_extra_and_the_readme_none_that_is_not_there() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (line,) = [line for line in readme.splitlines() if line.startswith("Extras: ")]
    named, extras = set(re.findall(r"`([\w-]+)`", line)), set(PROJECT["optional-dependencies"])
    assert named <= extras
    documents = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    unnamed = {one for one in extras - named if not re.search(rf"\[[\w,-]*\b{one}\b[\w,-]*\]", documents)}
    assert unnamed <= {"dev", "docs", "faces"}, (
        "neither in the README nor as pip install '.[…]' in a document"
    )
