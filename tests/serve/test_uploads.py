"""What is taken of files that a browser sends."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from serving import HOSTILE, added, huge_png, png
from starlette.testclient import TestClient
from tiny_detector import photo

from xai.core import DataError, ModelError, UsageError
from xai.data import read_image
from xai.serve.app import make_app
from xai.serve.model import ServeSettings
from xai.serve.uploads import Limits, decode, file_name

ROOM = 10**9


def test_an_upload_is_decoded_as_the_same_file_is(tmp_path):
    image = photo(1, (30, 20)).convert("RGBA")
    image.putalpha(photo(2, (30, 20)).convert("L"))
    (tmp_path / "a.png").write_bytes(png(image))
    assert np.array_equal(decode(png(image), "a.png", ROOM), read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(name):
    with pytest.raises(DataError) as found:
        decode(HOSTILE[name](), name, ROOM)
    assert found.value.message.startswith(f"{name}: ")


def test_pixels_are_counted_before_they_are_decoded():
    with pytest.raises(DataError, match=r"big.png: has 25.0 megapixels, and there is room for 1.0 more"):
        decode(huge_png(5000), "big.png", 1_000_000)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\pictures\\a.png", "a.png"),
        ("", "image"),
        ("..", "image"),
        ("a\n\u202eb.png", "a\\n\\u202eb.png"),
        ("x" * 400, "x" * 150),
    ],
)
def test_names_are_names(given, kept):
    assert file_name(given) == kept


def test_so_many_images_and_no_more(bench, heard, monkeypatch):
    monkeypatch.setattr(bench, "limits", Limits(images=2))
    for seed in range(2):
        added(bench, heard, seed)
    with pytest.raises(UsageError, match="At most 2 images"):
        bench.add(png(photo(2)), "2.png")
    with pytest.raises(UsageError, match="At most 2 images"):
        bench.add_shipped()
    bench.remove(heard.of("image")[0]["id"])
    added(bench, heard, 2)


def test_what_was_removed_makes_room_for_as_many_pixels(bench, heard, monkeypatch):
    monkeypatch.setattr(bench, "limits", Limits(megapixels=1))
    image = Image.new("L", (900, 900))
    first = bench.add(png(image), "0.png")
    with pytest.raises(DataError, match="room for 0.2 more"):
        bench.add(png(image), "1.png")
    heard.until(lambda one: one["kind"] == "image" and one["id"] == first)
    bench.remove(first)
    second = bench.add(png(image), "1.png")
    heard.until(lambda one: one["kind"] == "image" and one["id"] == second)


def test_limits_are_positive():
    with pytest.raises(UsageError, match="1 or more"):
        Limits(megapixels=0)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = make_app({"none": lambda: 1 / 0}, ServeSettings(), Limits(megabytes=1), "t", ["127.0.0.1:1"])
    with TestClient(app, base_url="http://127.0.0.1:1/t/", headers={"origin": "http://127.0.0.1:1"}) as made:
        yield made


def test_a_file_with_too_many_bytes_is_refused_while_it_comes(client):
    answer = client.post("images", params={"name": "big.png"}, content=bytes(1_000_001))
    assert answer.status_code == 413
    assert answer.json()["message"] == "big.png: larger than 1 MB."


def test_a_good_file_is_taken_and_a_bad_one_is_told(client):
    assert client.post("images", params={"name": "a.png"}, content=png(photo(0))).status_code == 201
    answer = client.post("images", params={"name": "text.png"}, content=HOSTILE["text.png"]())
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("text.png: not an image in a known format")


def test_a_page_that_is_closed_while_it_sends_is_no_bug(caplog):
    def absent():
        raise ModelError("There is no model here.")

    app = make_app({"none": absent}, ServeSettings(), Limits(), "t", ["127.0.0.1:1"])
    headers = [(b"host", b"127.0.0.1:1"), (b"origin", b"http://127.0.0.1:1")]
    scope = {"type": "http", "method": "POST", "path": "/t/images", "raw_path": b"/t/images", "root_path": ""}
    scope |= {"scheme": "http", "query_string": b"name=a.png", "headers": headers, "server": ("127.0.0.1", 1)}
    pieces = iter(
        [
            {"type": "http.request", "body": b"\x89PNG", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive():
        return next(pieces)

    async def send(message):
        pass

    with ThreadPoolExecutor(1) as apart:  # tests of a browser leave a loop running in this thread
        apart.submit(asyncio.run, app(scope, receive, send)).result()
    assert "A bug in xai" not in caplog.text
