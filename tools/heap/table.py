"""The measured figures of `figures.json`, which the command `measure-heap` writes."""

from __future__ import annotations

import json
from pathlib import Path

FIGURES = Path(__file__).with_name("figures.json")
READING = "reading"  # the kind of the sensors that a board has built in

Figures = dict[str, dict[str, list[int]]]  # bytes [at the check, while it runs] by group and name


def load_figures() -> Figures:
    """Return the figures in the file."""
    figures: Figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    return figures
