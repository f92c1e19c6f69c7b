"""A flash file system whose files fail: wraps `open` and `os` of the real one, on CPython and in the VMs.

All relative paths that the program uses are recorded, so a test covers each file of the firmware.
"""

import builtins
import os as real_os
import sys

if hasattr(real_os, "fsync"):
    real_os.fsync = lambda number: None  # CPython: saves time

real_open = builtins.open
real_print = builtins.print

_OS_FUNCTIONS = ("stat", "listdir", "ilistdir", "remove", "rename", "mkdir", "rmdir", "unlink")


class Fault:
    """The behaviour of a path that fails: `errors` has the exception of each operation.

    Operations are "read" (open to read), "write" (open to write), "get" and "put" (methods of an open file)
    and the functions of `os`. `content` replaces the content of the file; "folder" puts a folder there.
    """

    def __init__(self, name, errors=None, content=None, large=False):
        self.name = name
        self.errors = errors or {}
        self.content = content
        self.large = large  # whether only reads of more than 64 bytes fail


def copy_error(error):
    """Return a new exception, because an exception that was raised keeps its traceback."""
    return type(error)(*error.args)


def _all_writes(error):
    return {"write": error, "put": error, "remove": error, "rename": error, "mkdir": error, "rmdir": error}


FAULTS = (
    Fault("flash is full", {"write": OSError(28), "rename": OSError(28), "mkdir": OSError(28)}),
    Fault("flash is full while writing", {"put": OSError(28), "mkdir": OSError(28)}),
    Fault("flash is read-only", _all_writes(OSError(30))),
    Fault(
        "cannot be opened or listed",
        {
            "read": OSError(5),
            "write": OSError(5),
            "stat": OSError(5),
            "listdir": OSError(5),
            "ilistdir": OSError(5),
        },
    ),
    Fault("cannot be read", {"get": OSError(5)}),
    Fault("cannot be removed or renamed", {"remove": OSError(5), "rename": OSError(5), "rmdir": OSError(5)}),
    Fault("no heap to open it", {"read": MemoryError(), "write": MemoryError()}),
    Fault("no heap to read much", {"get": MemoryError()}, large=True),
    Fault("is empty", content=b""),
    Fault("is erased flash", content=b"\xff" * 300),
    Fault("is zeros", content=b"\0" * 300),
    Fault("is text", content=b"what is 7 this - ! \n-1\n" * 9),
    Fault("is long text", content=b"9" * 3000),
    Fault("is a folder", content="folder"),
    Fault("is a folder with files", content="full folder"),
)


class _FaultyFile:
    """A file whose methods fail as a Fault says."""

    def __init__(self, file, fault):
        self._file = file
        self._fault = fault

    def _check(self, operation, size=1 << 20):
        error = self._fault.errors.get(operation)
        if error and (size > 64 or not self._fault.large):
            raise copy_error(error)

    def read(self, *size):
        self._check("get", *size)
        return self._file.read(*size)

    def readline(self, *size):
        self._check("get", *size)
        return self._file.readline(*size)

    def readinto(self, buf, *size):
        self._check("get", *(size or (len(buf),)))
        return self._file.readinto(buf, *size)

    def write(self, *args):
        self._check("put")
        return self._file.write(*args)

    def flush(self):
        self._check("put")
        return self._file.flush()

    def seek(self, *args):
        return self._file.seek(*args)

    def fileno(self):
        return self._file.fileno()

    def close(self):
        self._file.close()

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class FaultyFlash:
    """Replaces `open`, `os` and `print` while it is in a `with` block; `path` fails as `fault` says.

    `paths` has all relative paths that were used, `lines` what was printed.
    """

    def __init__(self, path=None, fault=None):
        self.path = path
        self.fault = fault
        self.paths = set()
        self.lines = []

    def __enter__(self):
        self._saved = []
        flash = self

        class Os:
            pass

        proxy = Os()
        for name in dir(real_os):
            if name[:2] != "__":
                setattr(proxy, name, getattr(real_os, name))
        for name in _OS_FUNCTIONS:
            if hasattr(real_os, name):
                setattr(proxy, name, flash._wrap(name, getattr(real_os, name)))
        builtins.open = self._open
        builtins.print = lambda *words, **more: flash.lines.append(" ".join([str(word) for word in words]))
        self._os = proxy
        self._real_module = sys.modules.get("os", real_os)
        sys.modules["os"] = proxy
        self._replace(real_os, proxy)
        from umqtt5.journal import record_log

        self._remove = record_log.remove
        record_log.remove = proxy.remove
        return self

    def __exit__(self, *error):
        from umqtt5.journal import record_log

        builtins.open, builtins.print = real_open, real_print
        sys.modules["os"] = self._real_module
        self._replace(self._os, real_os)
        record_log.remove = self._remove

    def _replace(self, old, new):
        """Replace `os` in all modules of the firmware."""
        for name in list(sys.modules):
            if name.split(".")[0] in ("app", "sensors", "actuators", "slot"):
                if getattr(sys.modules[name], "os", None) is old:
                    sys.modules[name].os = new

    def _fails(self, path, operation):
        if not isinstance(path, str) or path[:1] == "/":
            return False
        self.paths.add(path)
        if path == self.path and not self.fault.large and operation in self.fault.errors:
            raise copy_error(self.fault.errors[operation])
        return path == self.path

    def _wrap(self, name, function):
        def call(*args):
            for path in args or (".",):
                self._fails(path, name)
            return function(*args)

        return call

    def _open(self, path, mode="r", *args, **more):
        if not isinstance(path, str) or path[:1] == "/":
            return real_open(path, mode, *args, **more)
        writes = "w" in mode or "a" in mode or "+" in mode
        fails = self._fails(path, "write" if writes else "read")
        file = real_open(path, mode, *args, **more)
        return _FaultyFile(file, self.fault) if fails else file
