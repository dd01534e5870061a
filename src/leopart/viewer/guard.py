"""What stands between the network and the page: who may ask, for what, and how much."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 1 << 18
"""Bytes of a request that the page may send; its largest are far below."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
)


@dataclass(frozen=True)
class Access:
    """Who may use the page.

    Attributes:
        hosts: names under which it is served, without port; empty: any IP address, with the token.
        port: where.
        open_to_network: whether every request needs the token of the address; else the loopback suffices.
        in_notebook: whether a page of this machine may show it in a frame.
        token: secret of this run of the server.
    """

    hosts: frozenset[str]
    port: int
    open_to_network: bool = False
    in_notebook: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie that remembers the token: cookies know hosts, not ports."""
        return f"leopart-view-{self.port}"

    def knows(self, host: str) -> bool:
        """Whether the page is served under this `Host` header; another one may be a rebound name."""
        name, colon, port = host.rpartition(":")
        if not colon or port != str(self.port):
            return False
        name = name.strip("[]").lower()
        return name in self.hosts or (self.open_to_network and _is_address(name))


class Guard:
    """ASGI middleware: refuses what is not from the page itself, and adds the headers that keep it closed.

    Args:
        app: behind it.
        access: who may use the page.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access
        frames = "http://localhost:* http://127.0.0.1:*" if access.in_notebook else "'none'"
        self._headers = {
            "content-security-policy": _POLICY.format(frames=frames),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-resource-policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal: Response | None = self._refusal(scope, headers)
        replay: list[Message] = []
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            taken = await _body(receive, headers)
            refusal = _refused(413, "the request is too large") if taken is None else None
            replay.append({"type": "http.request", "body": taken or b"", "more_body": False})

        async def closed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in self._headers.items()]
                if b"cache-control" not in own:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        async def replayed() -> Message:
            return replay.pop() if replay else await receive()

        await (refusal or self._app)(scope, replayed, closed)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self._access.knows(host):
            return _refused(421, "this page is not served under that name; use the address that was printed")
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return _refused(403, "requests of other pages are refused")
        if headers.get("sec-fetch-site") == "cross-site" and scope["path"] != "/":
            return _refused(403, "requests of other pages are refused")
        if self._access.open_to_network and (response := self._without_token(scope, headers)):
            return response
        if scope["method"] not in ("GET", "HEAD"):
            given = headers.get("x-leopart-token", "").encode()
            if not secrets.compare_digest(given, self._access.token.encode()):
                return _refused(403, "the page's token is missing or of an earlier start; reload the page")
        return None

    def _without_token(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """Refuse who has no token; who brings it in the address gets a cookie, and the address without it."""
        token = self._access.token.encode()
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and secrets.compare_digest(given.encode(), token):
            response = RedirectResponse("/", status_code=303)
            response.set_cookie(self._access.cookie, self._access.token, httponly=True, samesite="strict")
            return response
        try:
            kept = SimpleCookie(headers.get("cookie", "")).get(self._access.cookie)
        except CookieError:
            kept = None
        if kept is None or not secrets.compare_digest(kept.value.encode(), token):
            return _refused(403, "the token is missing; open the whole address that was printed")
        return None


async def _body(receive: Receive, headers: dict[str, str]) -> bytes | None:
    """The body of a request; None where it is too large."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        return None
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > LARGEST_BODY:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return body


def _refused(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"error": reason}, status_code=status, headers={"connection": "close"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
