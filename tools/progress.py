"""Progress of long work, where somebody looks."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(console: Console, *columns: ProgressColumn | str) -> Progress:
    """A bar that is gone when the work is done; nothing where the output is no terminal."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
