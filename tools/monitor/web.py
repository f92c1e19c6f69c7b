"""The monitor as a page on loopback: starlette, a WebSocket, no build step."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from rich.console import Console
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tools.monitor.model import MonitorModel

_PAGE = Path(__file__).parent / "page"
_FILES = {"": "index.html", "style.css": "style.css", "app.js": "app.js"}
_POLL = 0.02  # s
_TELL = 0.25  # s
_LONGEST = 1024  # bytes of what a page sends
_HEADERS = {
    # nothing of another site's, and no script but ours
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HOSTS = ["127.0.0.1", "localhost"]


def application(model: MonitorModel, token: str) -> Starlette:
    """The page and its socket. Only who has the `token` is heard: any page may reach loopback."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_poll(model))
        yield
        task.cancel()

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "")
        if name not in _FILES:
            return Response("not found", 404)
        return FileResponse(_PAGE / _FILES[name], headers=_HEADERS)

    async def live(socket: WebSocket) -> None:
        origin = urlsplit(socket.headers.get("origin", ""))
        given = socket.query_params.get("token", "")
        if origin.hostname not in _HOSTS or not secrets.compare_digest(given.encode(), token.encode()):
            await socket.close(4403)
            return
        await socket.accept()
        teller = asyncio.create_task(_tell(model, socket))
        try:
            while True:
                await _listen(model, socket)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            teller.cancel()

    return Starlette(
        routes=[Route("/", page), Route("/{name}", page), WebSocketRoute("/live", live)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)],
        lifespan=lifespan,
    )


async def _poll(model: MonitorModel) -> None:
    while True:
        model.poll()
        await asyncio.sleep(_POLL)


async def _tell(model: MonitorModel, socket: WebSocket) -> None:
    """All of it first, then what is new."""
    since = 0.0
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            state = model.snapshot(since)
            state["whole"] = not since
            await socket.send_text(json.dumps(state))
            since = state["now"]
            await asyncio.sleep(_TELL)


async def _listen(model: MonitorModel, socket: WebSocket) -> None:
    """One command of the page: `{"device": ..., "switch": ..., "payload": ...}`."""
    text = await socket.receive_text()
    why: str | None = "not understood"
    with contextlib.suppress(ValueError, TypeError, KeyError):
        asked: Any = json.loads(text[:_LONGEST])
        why = model.send_command(str(asked["device"]), str(asked["switch"]), str(asked["payload"]))
    if why:
        model.add_event(f"a command of the page: {why}")


def serve(model: MonitorModel, port: int, console: Console) -> None:
    """Until Ctrl-C. `port` 0 takes a free one."""
    token = secrets.token_urlsafe(16)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()  # before the address is told
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
        console.print(
            f"{model.address}, {model.prefix}/: {url}", highlight=False, markup=False, soft_wrap=True
        )
        config = uvicorn.Config(
            application(model, token), log_level="warning", ws_max_size=_LONGEST, timeout_graceful_shutdown=1
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
