"""Who may ask: the browser that was given the address, on this machine, and no page but ours in it.

A page of a stranger in the same browser can send requests here: it does not know the token, its `Origin` is
not ours, and where its name was made to mean this machine (DNS rebinding) `Host` is that name.
"""

from collections.abc import Iterable
from secrets import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xai.core.language import gettext

HARMLESS = ("GET", "HEAD")
HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Hands on what comes from the page itself, without the token in its path; refuses everything else.

    Args:
        app: What is guarded.
        token: The secret; the first part of every path.
        hosts: What `Host` may say, with the port.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Iterable[str]):
        self.app = app
        self.token = token
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        given, _, rest = scope["path"].removeprefix("/").partition("/")
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await PlainTextResponse(refusal, 403)(scope, receive, send_with_headers)
        elif not compare_digest(given.encode(errors="replace"), self.token.encode()):
            text = gettext(
                "The address is not complete: copy the one that xai serve printed, with its token."
            )
            await PlainTextResponse(text, 403)(scope, receive, send_with_headers)
        else:
            inner = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode()}
            await self.app(inner, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is refused, whatever its path; None where it is not."""
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return gettext("This server answers under the address that xai serve printed alone.")
        own = f"http://{hosts[0]}"
        if origins != [own] and (origins or method not in HARMLESS):
            return gettext("The request comes from another page: open the address by itself.")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return gettext("The request comes from another page: open the address by itself.")
        return None
