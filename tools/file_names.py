"""Names of files that come from outside: from a board, a broker, or a file of another person."""

from __future__ import annotations

from tools.errors import UserError

_FORBIDDEN = set('/\\:*?"<>|')
_MAX_LENGTH = 64
# device names of Windows: a file of such a name does not exist there, with any suffix
_RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}


def is_bare_name(name: object) -> bool:
    """Return True if `name` is a str that names a file in a folder, and nothing outside of this folder."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _MAX_LENGTH
        and not _FORBIDDEN & set(name)
        and name.isprintable()
        and not name.startswith((".", " "))
        and not name.endswith((".", " "))
        and name.split(".")[0].lower() not in _RESERVED
    )


def require_bare_name(name: object, source: str) -> str:
    """Return `name` if it is a bare file name. Raises UserError, which begins with `source`, if it is not."""
    if not is_bare_name(name):
        raise UserError(f"{source}: {name!r}, expected the name of a file, without a folder")
    return str(name)
