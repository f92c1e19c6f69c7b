"""The tools on the desktop: `python -m tools --help`."""
