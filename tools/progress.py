"""Progress bars in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(console: Console, *columns: ProgressColumn | str) -> Progress:
    """Return a progress bar that disappears at the end. It prints nothing if the output is not a terminal."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
