"""Who may ask."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from xai.core import UsageError
from xai.serve import guard
from xai.serve.app import make_app
from xai.serve.model import ServeSettings
from xai.serve.uploads import Limits

HOST = "127.0.0.1:8123"
OWN = f"http://{HOST}"
TOKEN = "sEcReT-token"  # noqa: S105


def no_model():
    raise UsageError("None of these tests needs one.")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = make_app({"none": no_model}, ServeSettings(), Limits(), TOKEN, [HOST, "localhost:8123"])
    with TestClient(app, base_url=OWN, follow_redirects=False) as made:
        yield made


def test_the_page_is_given_to_whoever_has_the_address(client):
    answer = client.get(f"/{TOKEN}/")
    assert answer.status_code == 200
    assert answer.text.startswith("<!DOCTYPE html>")
    headers = answer.headers
    policy = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["img-src"] == "data:"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert policy["script-src"].startswith("'sha256-") and "unsafe" not in str(policy)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    # under its other name too
    assert client.get(f"/{TOKEN}/", headers={"host": "localhost:8123"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN.lower()}/", "/%C3%A9/", f"//{TOKEN}/", "/images"],
)
def test_without_the_token_nothing_is_answered(client, path):
    answer = client.get(path)
    assert answer.status_code == 403
    assert TOKEN not in answer.text
    assert "xai serve printed" in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_tokens_are_compared_in_constant_time(client, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((one, other))
        return False

    monkeypatch.setattr(guard, "compare_digest", compare)
    assert client.get(f"/{TOKEN}/").status_code == 403
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


@pytest.mark.parametrize(
    "host", ["evil.example:8123", "127.0.0.1", "127.0.0.1:80", "localhost:8123.evil.example", ""]
)
def test_another_host_name_is_refused_even_with_the_token(client, host):
    """DNS rebinding: a stranger's name that was made to mean this machine."""
    assert client.get(f"/{TOKEN}/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", f"https://{HOST}", None]
)
def test_what_changes_something_must_come_from_the_page(client, origin):
    headers = {} if origin is None else {"origin": origin}
    for method, path in [("POST", "shipped"), ("DELETE", "images/x"), ("POST", "explain")]:
        answer = client.request(method, f"/{TOKEN}/{path}", headers=headers)
        assert answer.status_code == 403, (method, path)


def test_another_page_may_not_even_read(client):
    assert client.get(f"/{TOKEN}/", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get(f"/{TOKEN}/", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.get(f"/{TOKEN}/", headers={"sec-fetch-site": "same-site"}).status_code == 403
    for mine in ("same-origin", "none"):
        assert client.get(f"/{TOKEN}/", headers={"sec-fetch-site": mine}).status_code == 200


def test_the_page_itself_may_ask(client):
    answer = client.delete(f"/{TOKEN}/images/none", headers={"origin": OWN})
    assert answer.status_code == 400
    assert answer.json() == {"message": "The image is not held any more.", "hint": "Add it again."}


def test_two_host_headers_are_refused(client):
    headers = [("host", HOST), ("host", "evil.example")]
    assert client.get(f"/{TOKEN}/", headers=headers).status_code == 403


def test_unknown_addresses_and_methods(client):
    assert client.get(f"/{TOKEN}/nothing").status_code == 404
    assert client.get(f"/{TOKEN}/explain").status_code == 405
    assert client.get(f"/{TOKEN}/files/none").status_code == 404


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"images": "all", "methods": []}', b'{"images": [], "methods": [], "x": 1}'],
)
def test_a_request_that_the_page_does_not_send(client, content):
    answer = client.post(f"/{TOKEN}/explain", content=content, headers={"origin": OWN})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("The request is not what the page sends")


def test_a_request_of_many_bytes_is_not_read_to_its_end(client):
    read = []

    def endless():
        for _ in range(100):
            read.append(1)
            yield bytes(100_000)

    answer = client.post(f"/{TOKEN}/explain", content=endless(), headers={"origin": OWN})
    assert answer.status_code == 413


def test_a_bug_is_said_and_does_not_end_the_server(monkeypatch):
    app = make_app({"none": no_model}, ServeSettings(), Limits(), TOKEN, [HOST])
    monkeypatch.setattr("xai.serve.workbench.shipped_samples", lambda: 1 / 0)
    with TestClient(app, base_url=OWN, raise_server_exceptions=False) as made:
        answer = made.post(f"/{TOKEN}/shipped", headers={"origin": OWN})
        assert answer.status_code == 500
        assert answer.json()["hint"] == "This is a bug in xai."
        assert made.get(f"/{TOKEN}/").status_code == 200
