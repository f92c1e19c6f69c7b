"""Measured figures in the documents (`make docs-figures`) are up to date, and only they are replaced."""

from __future__ import annotations

import pytest

from tools import docs_figures


@pytest.mark.timeout(300)
def test_every_measured_figure_in_the_documents_is_up_to_date() -> None:
    stale = []
    for path in docs_figures.documents():
        text = path.read_text()
        stale += [
            f"{path.name}: {name}"
            for name in docs_figures.stale_blocks(text, docs_figures.with_figures(text))
        ]
    assert stale == [], "run `make docs-figures`"


def test_each_figure_block_is_used_in_a_document() -> None:
    text = "".join(path.read_text() for path in docs_figures.documents())
    assert [name for name in docs_figures.BLOCKS if f"<!-- begin: {name} -->" not in text] == []


PAGE = "before\n<!-- begin: sum -->\n| bytes | 20,131 |\n<!-- end: sum -->\nafter\n"


def test_a_figure_is_written_between_its_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_figures, "BLOCKS", {"sum": lambda: "| bytes | 21,000 |\n"})
    new = docs_figures.with_figures(PAGE)
    assert new == PAGE.replace("20,131", "21,000")
    assert docs_figures.stale_blocks(PAGE, new) == ["sum"]


def test_blocks_of_other_commands_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs_figures, "BLOCKS", {})
    assert docs_figures.with_figures(PAGE) == PAGE


@pytest.mark.parametrize(
    ("now", "is_stale"), [("20,131", False), ("20,180", False), ("20,300", True), ("20,131 B", True)]
)
def test_a_figure_is_stale_if_it_differs_by_more_than_a_few_bytes(
    now: str, is_stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docs_figures, "BLOCKS", {"sum": lambda: f"| bytes | {now} |\n"})
    assert bool(docs_figures.stale_blocks(PAGE, docs_figures.with_figures(PAGE))) == is_stale
