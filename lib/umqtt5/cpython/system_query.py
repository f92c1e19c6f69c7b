"""Name lookup by the system's resolver in a thread, for `dns` on CPython. Not used on a board."""

import socket
import threading
from errno import EHOSTUNREACH

_TEMPORARY = (socket.EAI_AGAIN, socket.EAI_FAIL)


class SystemQuery:
    """A call of `getaddrinfo` in a thread. `pollable` becomes readable when it has ended."""

    def __init__(self, name):
        self._name = name
        self._found = None  # list of addresses, or OSError
        self.pollable, done = socket.socketpair()
        threading.Thread(target=self._run, args=(done,), daemon=True).start()

    def _run(self, done):
        try:
            found: list = []
            for info in socket.getaddrinfo(self._name, 0, 0, socket.SOCK_STREAM):
                # IPv4 first, because every broker has an IPv4 address
                found.insert(0 if info[0] == socket.AF_INET else len(found), info[4][0])
            self._found = found
        except (OSError, UnicodeError) as error:
            self._found = error
        finally:
            done.close()

    def addresses(self):
        """Return the addresses: None if not known yet, [] if no server answers. Raises OSError."""
        if isinstance(self._found, list) or self._found is None:
            return self._found
        if getattr(self._found, "errno", None) in _TEMPORARY:
            return []
        text = getattr(self._found, "strerror", None) or str(self._found)
        raise OSError(EHOSTUNREACH, "%s: unknown host (%s)" % (self._name, text))
