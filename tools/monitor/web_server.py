"""The server of the monitor's page: it listens on loopback or on the network, and prints the link."""

from __future__ import annotations

import contextlib
import io
import ipaddress
import secrets
import socket
import sys

import segno
import uvicorn
from rich.text import Text

from tools.console import Console
from tools.errors import UserError
from tools.monitor.model import MonitorModel
from tools.monitor.web import MAX_MESSAGE, application
from tools.monitor.web_access import Access, find_network_address

_MAX_CONNECTIONS = 200  # of all browsers together


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address of this computer. Raises UserError."""
    try:
        address = ipaddress.ip_address(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
        listener = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    except (OSError, ValueError) as error:
        raise UserError(f"--host {host}: not an address of this computer. Try 0.0.0.0") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen()  # before the address is printed, so that a browser can connect at once
    except OSError as error:
        listener.close()
        hint = "Choose another --web-port" if port else "Try --host 0.0.0.0, which is each address"
        raise UserError(f"--host {host}, port {port}: {error.strerror}. {hint}") from error
    return listener


def _format_qr_code(url: str) -> str:
    """Return a QR code of block characters, which are its light parts."""
    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, border=2, compact=True)
    return out.getvalue().rstrip("\n")


def _print_link(model: MonitorModel, console: Console, url: str, is_on_network: bool) -> None:
    console.print(
        f"monitoring {model.prefix}/ at {model.address}. Open {url}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if not is_on_network:
        return
    console.print(
        "Each device on this network that has the link can see the readings and turn the switches. The "
        "connection is not encrypted.",
        soft_wrap=True,
    )
    code = _format_qr_code(url)
    if sys.stdout.isatty() and console.height >= code.count("\n") + 4:
        console.print(Text(code, "bright_white on black"), soft_wrap=True)


def serve(model: MonitorModel, host: str, port: int, console: Console) -> None:
    """Serve the page until Ctrl-C, and print its address. `port` 0 selects a free one. Raises UserError."""
    token = secrets.token_urlsafe(16)
    with _listen(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        bound_to, number = listener.getsockname()[:2]
        is_on_network = not ipaddress.ip_address(bound_to).is_loopback
        name = find_network_address(bound_to)
        netloc = f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
        _print_link(model, console, f"http://{netloc}/?token={token}", is_on_network)
        config = uvicorn.Config(
            application(model, Access(token, is_on_network)),
            log_level="warning",
            ws_max_size=MAX_MESSAGE,
            limit_concurrency=_MAX_CONNECTIONS,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listener])
