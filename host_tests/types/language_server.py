"""The language server of pyright, which Pylance in VS Code is built on: completion, documentation, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any


class LanguageServer:
    """A server for one folder, with the settings of VS Code."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        self._settings = settings
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from pyright.langserver import main; main('--stdio')"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, PYRIGHT_PYTHON_IGNORE_WARNINGS="1"),
            start_new_session=True,
        )
        self._timer = threading.Timer(120, self._process.kill)  # then a read ends
        self._timer.start()
        capabilities = {"workspace": {"configuration": True, "workspaceFolders": True}}
        folders = [{"uri": folder.as_uri(), "name": "project"}]
        options = {"processId": None, "rootUri": folder.as_uri(), "workspaceFolders": folders}
        self.request("initialize", {**options, "capabilities": capabilities})
        self._send({"method": "initialized", "params": {}})

    def __enter__(self) -> LanguageServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._process.stdin:
            self._process.stdin.close()  # the server and its node process end then
        self._process.wait(30)

    def open(self, name: str, text: str) -> dict[str, str]:
        """Open a file of the folder in the editor; return its identifier for requests."""
        uri = (self._folder / name).as_uri()
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        return {"uri": uri}

    def complete(self, document: dict[str, str], line: int, character: int) -> list[str]:
        """Return the names that the editor offers at a position, counted from 0."""
        position = {"line": line, "character": character}
        found = self.request("textDocument/completion", {"textDocument": document, "position": position})
        return [item["label"] for item in found["items"]]

    def hover(self, document: dict[str, str], line: int, character: int) -> str:
        """Return the text that the editor shows for a name."""
        position = {"line": line, "character": character}
        found = self.request("textDocument/hover", {"textDocument": document, "position": position})
        return str(found["contents"]["value"]) if found else ""

    def request(self, method: str, parameters: dict[str, Any]) -> Any:
        """Send a request and return its result. Raises RuntimeError if the server reports an error."""
        self._count += 1
        self._send({"id": self._count, "method": method, "params": parameters})
        number = self._count
        while True:
            message = self._read()
            if "method" in message:
                if "id" in message:
                    self._answer(message)
            elif message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message["result"]

    def _answer(self, request: dict[str, Any]) -> None:
        """Answer a request of the server: it asks for sections of the settings."""
        result = None
        if request["method"] == "workspace/configuration":
            result = [self._section(item["section"]) for item in request["params"]["items"]]
        self._send({"id": request["id"], "result": result})

    def _section(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in self._settings.items():
            if key.startswith(name + "."):
                *path, last = key[len(name) + 1 :].split(".")
                inner = found
                for part in path:
                    inner = inner.setdefault(part, {})
                inner[last] = value
        return found

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output
        size = 0
        while line := output.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
        if not size:
            raise RuntimeError("the language server has ended")
        message: dict[str, Any] = json.loads(output.read(size))
        return message
