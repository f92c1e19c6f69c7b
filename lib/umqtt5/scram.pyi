from collections.abc import Callable

class Scram:
    method: str

    def __init__(
        self,
        user: str,
        password: str | bytes | bytearray | memoryview,
        *,
        max_iterations: int = 32768,
        random: Callable[[int], bytes] | None = None,
    ) -> None: ...
    def start(self) -> bytes: ...
    def challenge(self, data: bytes | bytearray | memoryview) -> bytes | None: ...
    def work(self) -> bytes | None: ...
    def finish(self, data: bytes | bytearray | memoryview) -> None: ...
