"""Attacks on the commands of `python -m tools`: hostile boards, brokers, files and command lines.

Each command runs as a real process in a pseudo-terminal, in a folder of its own. After it has ended, the
files outside of this folder must be unchanged, its output must not control the terminal, its exit code must
be a documented one, and it must have ended in time. `python -m host_tests.attack --help` lists the options.
"""
