"""What a written page holds, read back from the HTML file."""

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path

from xai.report.payload import Page

BLOCK = re.compile(r'<script type="text/plain" id="data-([\w-]+)">([^<]*)</script>')


def page_of(path: Path) -> Page:
    """The payload, put together again from the page's blocks of data."""
    blocks = {name: text.strip() for name, text in BLOCK.findall(path.read_text("utf-8"))}
    head = _unpacked(blocks["page"])
    for name in ("charts", "words", "order"):  # what the browser is told beside the data
        del head[name]
    for place, image in enumerate(head["images"]):
        image |= _unpacked(blocks[f"image-{place}"]) | {"picture": blocks[f"picture-{place}"] or None}
    return Page.model_validate(head)


def _unpacked(block: str) -> dict:
    return json.loads(gzip.decompress(b64decode(block)))
