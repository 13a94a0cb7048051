"""Who may speak to the server: an ASGI layer in front of everything."""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

COOKIE = "sketchless"
MAX_PATH = 100  # characters; Python refuses to read numbers of thousands of digits

# Nothing but what the package serves runs or is fetched, whatever a name or a photo holds.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Refuses what does not come from a page of this server.

    Args:
        app: what is guarded.
        token: None: the server is on the loopback address, and the Host header must be a loopback name, so that no
            name of another site resolves to it (DNS rebinding). Else: whoever shows this token, in the link or in
            the cookie that the link sets, may come in, under whatever name the machine has.
    """

    def __init__(self, app: Any, token: str | None = None) -> None:
        self.app, self.token = app, token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if fault := self._fault(scope, headers):
            await _refuse(scope, send, *fault)
            return
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        extra = dict(HEADERS)
        if self.token is not None and self._is_token(shown):
            extra["set-cookie"] = f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict"

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in extra.items()]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _fault(self, scope: Any, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.token is None and not is_loopback(_name(host)):
            return 403, f"the address is not one of this machine alone: open http://127.0.0.1:{_port(host)}/ instead"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "this request comes from another site"
        if self.token is not None:
            query = parse_qs(scope["query_string"].decode("latin-1"))
            if not (self._is_token(query.get("token", [""])[0]) or self._is_token(_cookie(headers.get("cookie", "")))):
                return 403, "open the link with the token that sketchless draw has printed"
        if len(scope["path"]) > MAX_PATH:
            return 404, f"nothing here has an address of over {MAX_PATH} characters"
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            return 405, "only GET is answered; nothing is ever posted to this server"
        return None

    def _is_token(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())


def is_loopback(host: str) -> bool:
    """Whether an address is one of this machine alone."""
    if host.lower() == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _name(host: str) -> str:
    """Host without its port and brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).removeprefix("[").removesuffix("]")


def _port(host: str) -> str:
    port = host.rpartition(":")[2]
    return port if port.isdecimal() else "80"


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


async def _refuse(scope: Any, send: Any, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})  # before it is accepted: HTTP 403
        return
    body = (why + "\n").encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    headers.append((b"connection", b"close"))  # a body that was sent with it is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
