"""The error that ends a command with one line for the user."""

from __future__ import annotations


class UserError(Exception):
    """Error that the user can fix.

    The command prints its text on standard error and ends with exit code 1. The text names the object, and
    says what happened and what to do next.
    """
