"""What goes wrong and a person can mend: one line that says what to do next."""

from __future__ import annotations


class UserError(Exception):
    """Ends a command with this line on standard error, and with exit code 1."""
