"""The command line. One command a file; the Makefile only calls this."""

from __future__ import annotations

import typer

from tools import conformance, demo, frames, lint, mutants, size
from tools.bench import command as bench

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="umqtt5's tools. Exit codes: 0 done, 1 it did not come out as it should, 2 wrong use.",
)
app.command("bench")(bench.main)
app.command("conformance")(conformance.main)
app.command("demo")(demo.main)
app.command("frames")(frames.main)
app.command("lint")(lint.main)
app.command("mutants")(mutants.main)
app.command("size")(size.main)

if __name__ == "__main__":
    app(prog_name="python -m tools")
