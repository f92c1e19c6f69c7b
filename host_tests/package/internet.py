"""The web servers of the publisher: a proxy for HTTPS that answers for all hosts, from a function.

Programs reach it with the environment of `Internet.environment`, without a change of their code or of a URL.
"""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import trustme

Answer = Callable[[str, str], "bytes | None"]  # the content at a host and a path, None if there is none


class Internet:
    """Proxy on loopback. `asked` has the addresses that were requested."""

    def __init__(self, hosts: tuple[str, ...], answer: Answer, folder: Path) -> None:
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*hosts).configure_cert(context)
        ca = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(ca))
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), _make_handler(context, answer, self.asked)
        )
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {"https_proxy": url, "SSL_CERT_FILE": str(ca), "no_proxy": ""}

    def __enter__(self) -> Internet:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _make_handler(context: ssl.SSLContext, answer: Answer, asked: list[str]) -> type:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:  # noqa: N802
            self.send_response(200)
            self.end_headers()
            host = self.path.rpartition(":")[0]
            try:
                self.connection = context.wrap_socket(self.connection, server_side=True)
            except (OSError, ssl.SSLError):
                self.close_connection = True
                return
            self.host = host
            self.rfile = self.connection.makefile("rb", -1)
            self.wfile = self.connection.makefile("wb", 0)
            self.close_connection = False
            self.handle_one_request()
            self.connection.close()
            self.close_connection = True

        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.host + self.path)
            data = answer(self.host, self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
