"""CHANGELOG.md: moves the entries under "Unreleased" to a version, and finds the date of a version."""

from __future__ import annotations

import datetime
import re

from tools.errors import UserError

_UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_VERSION = r"^## {version} - (\d{{4}}-\d\d-\d\d)$"


def unreleased_entries(text: str) -> str:
    """Return what the changelog has under "Unreleased", "" if there is nothing. Raises UserError."""
    found = _UNRELEASED.search(text)
    if not found:
        raise UserError('CHANGELOG.md has no heading "## Unreleased". Add it above the newest version')
    return found[1].strip()


def release_entries(text: str, version: str, date: datetime.date) -> str:
    """Return the changelog with the unreleased entries under `version`.

    Raises UserError if there are none.
    """
    if not unreleased_entries(text):
        raise UserError(
            'CHANGELOG.md has nothing under "Unreleased". Describe what has changed, then commit it'
        )
    return text.replace("## Unreleased\n", f"## Unreleased\n\n## {version} - {date.isoformat()}\n", 1)


def find_date(text: str, version: str) -> datetime.date | None:
    """Return the date of a version, None if the changelog does not have it. Raises UserError."""
    found = re.search(_VERSION.format(version=re.escape(version)), text, re.MULTILINE)
    if not found:
        return None
    try:
        return datetime.date.fromisoformat(found[1])
    except ValueError:
        raise UserError(f"CHANGELOG.md: {found[1]} is not a date. Write it as 2026-01-31") from None
