"""Web page of the monitor: a Starlette server with a WebSocket for live data and commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tools.monitor.csv_rows import format_csv
from tools.monitor.model import MonitorModel
from tools.monitor.web_access import Access

_PAGE = Path(__file__).parent / "page"
_FILES = ("style.css", "app.js", "chart.js", "filter.js")
_POLL_INTERVAL = 0.02  # seconds
_SEND_INTERVAL = 0.25  # seconds
MAX_MESSAGE = 1024  # maximum size in bytes of a message from the page
_HEADERS = {
    # The page loads nothing from other sites, and runs no script except its own.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_REFUSED = (
    "This address has no token, or that of an earlier start of the monitor.\n"
    "Open the address that the monitor printed when it started, or scan its QR code.\n"
)
_OTHER_HOST = "This is not a name of this computer. Open the address that the monitor printed.\n"
Handler = Callable[[Request], Awaitable[Response]]


class _HostCheck:
    """Middleware that refuses requests whose Host header names another computer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not self._access.allows_host(hosts[0]):
                await PlainTextResponse(_OTHER_HOST, 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Pages:
    """Handlers of the requests."""

    def __init__(self, model: MonitorModel, access: Access) -> None:
        self._model = model
        self._access = access

    def with_token(self, handler: Handler) -> Handler:
        """Return a handler that refuses requests without the token."""

        async def check(request: Request) -> Response:
            if not self._access.allows_token(request.query_params.get("token", "")):
                return PlainTextResponse(_REFUSED, 403, headers=_HEADERS)
            return await handler(request)

        return check

    async def page(self, request: Request) -> Response:
        return FileResponse(_PAGE / "index.html", headers=_HEADERS)

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return PlainTextResponse("not found\n", 404)
        return FileResponse(_PAGE / name, headers=_HEADERS)

    async def history(self, request: Request) -> Response:
        """Return the stored readings, all or of one device, as a CSV file."""
        device = request.query_params.get("device")
        # any other character could end the name of the file in the header
        name = re.sub(r"[^A-Za-z0-9_-]", "_", device or "readings")
        headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{name}.csv"'}
        samples = format_csv(self._model.export(device))
        return StreamingResponse(samples, media_type="text/csv; charset=utf-8", headers=headers)

    async def live(self, socket: WebSocket) -> None:
        """Send the state of all devices, and receive commands."""
        origin, host = socket.headers.get("origin", ""), socket.headers.get("host", "")
        token = socket.query_params.get("token", "")
        if not self._access.allows_origin(origin, host) or not self._access.allows_token(token):
            await socket.close(4403)
            return
        await socket.accept()
        sender = asyncio.create_task(_send_updates(self._model, socket))
        try:
            while True:
                await _receive_command(self._model, socket)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sender.cancel()


def application(model: MonitorModel, access: Access) -> Starlette:
    """Return the application: the page, its files, the history as CSV, and the WebSocket `/live`.

    Only the scripts and the style sheet need no token.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_poll(model))
        yield
        task.cancel()

    pages = _Pages(model, access)
    return Starlette(
        routes=[
            Route("/", pages.with_token(pages.page)),
            Route("/history.csv", pages.with_token(pages.history)),
            Route("/{name}", pages.file),
            WebSocketRoute("/live", pages.live),
        ],
        middleware=[Middleware(_HostCheck, access=access)],
        lifespan=lifespan,
    )


async def _poll(model: MonitorModel) -> None:
    while True:
        model.poll()
        await asyncio.sleep(_POLL_INTERVAL)


async def _send_updates(model: MonitorModel, socket: WebSocket) -> None:
    """Send the complete state once (`"full": true`), then only what is new."""
    since = 0.0
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            state = model.snapshot(since)
            state["full"] = not since
            await socket.send_text(json.dumps(state))
            since = state["now"]
            await asyncio.sleep(_SEND_INTERVAL)


async def _receive_command(model: MonitorModel, socket: WebSocket) -> None:
    """Receive and carry out a command from the page: `{"device": ..., "switch": ..., "payload": ...}`."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    reason: str | None = "invalid message"
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        command: Any = json.loads(message["text"])  # None if the message is binary
        reason = model.send_command(str(command["device"]), str(command["switch"]), str(command["payload"]))
    if reason:
        model.add_event(f"command from the web page not sent: {reason}")
