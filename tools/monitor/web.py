"""Web page of the monitor: a Starlette server on the loopback interface, with a WebSocket for live data."""

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
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tools.console import Console
from tools.monitor.model import MonitorModel

_PAGE = Path(__file__).parent / "page"
_FILES = {"": "index.html", "style.css": "style.css", "app.js": "app.js"}
_POLL_INTERVAL = 0.02  # seconds
_SEND_INTERVAL = 0.25  # seconds
_MAX_MESSAGE = 1024  # maximum size in bytes of a message from the page
_HEADERS = {
    # The page loads nothing from other sites, and runs no script except its own.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HOSTS = ["127.0.0.1", "localhost"]


def application(model: MonitorModel, token: str) -> Starlette:
    """Return the application: the page, and the WebSocket `/live`.

    Every web page in the browser can reach the loopback interface. Therefore the WebSocket accepts only
    clients that send `token` and an Origin header that names this computer.
    """

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
        client_token = socket.query_params.get("token", "")
        if not _is_local(socket.headers.get("origin", "")) or not secrets.compare_digest(
            client_token.encode(), token.encode()
        ):
            await socket.close(4403)
            return
        await socket.accept()
        sender = asyncio.create_task(_send_updates(model, socket))
        try:
            while True:
                await _receive_command(model, socket)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            sender.cancel()

    return Starlette(
        routes=[Route("/", page), Route("/{name}", page), WebSocketRoute("/live", live)],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)],
        lifespan=lifespan,
    )


def _is_local(origin: str) -> bool:
    """Return True if an Origin header names this computer."""
    try:
        return urlsplit(origin).hostname in _HOSTS
    except ValueError:  # not a URL, such as "http://["
        return False


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


def serve(model: MonitorModel, port: int, console: Console) -> None:
    """Serve the page until Ctrl-C, and print its address. `port` 0 selects a free one."""
    token = secrets.token_urlsafe(16)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()  # before the address is printed, so that a browser can connect at once
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"
        console.print(
            f"monitoring {model.prefix}/ at {model.address}. Open {url}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        config = uvicorn.Config(
            application(model, token),
            log_level="warning",
            ws_max_size=_MAX_MESSAGE,
            timeout_graceful_shutdown=1,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
