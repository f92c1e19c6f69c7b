"""Chaos test: the real firmware on a simulated clock, in a world that is as unkind as boards are."""
