"""Prints, as exports of a shell, what pip is told on this machine; uv reads none of pip's settings itself."""

import ast
import shlex
import subprocess
import sys

NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
"""By pip's name: uv's variable, and what stands between two values of it."""

listed = subprocess.run(
    [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
)
told: dict[str, list[str]] = {"constraint": ["constraints.txt"]}
for line in listed.stdout.splitlines():
    place, _, value = line.partition("=")
    for one in str(ast.literal_eval(value)).split():
        if one not in told.setdefault(place.rpartition(".")[2], []):
            told[place.rpartition(".")[2]].append(one)
for name, (variable, between) in NAMES.items():
    if name in told:
        sys.stdout.write(f"export {variable}={shlex.quote(between.join(told[name]))}\n")
sys.stdout.write("export UV_INDEX_STRATEGY=unsafe-best-match\n")  # all indexes are equal, as they are to pip
