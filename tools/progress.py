"""Progress bars in a terminal."""

from __future__ import annotations

from rich.progress import Progress, ProgressColumn

from tools.console import Console


def progress_bar(console: Console, *columns: ProgressColumn | str) -> Progress:
    """Return a progress bar that disappears at the end. It prints nothing if the output is not a terminal."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
