"""Crash log and safe mode: the saved traceback, the count of failed starts."""

import os

from app import crash


def test_a_traceback_is_saved_until_it_is_deleted():
    crash.delete_log()
    assert crash.load() is None
    try:
        raise ValueError("the pump is gone")
    except ValueError as error:
        crash.save(error)
    assert b"ValueError: the pump is gone" in crash.load()
    crash.delete_log()
    assert crash.load() is None
    crash.delete_log()  # deleting it again does no harm


def test_a_saved_traceback_has_at_most_1500_bytes():
    try:
        raise ValueError("x" * 5000)
    except ValueError as error:
        crash.save(error)
    assert len(crash.load()) <= 1500
    assert os.stat("crash.txt")[6] <= 1500
    crash.delete_log()


def test_after_three_failed_starts_the_next_start_is_in_safe_mode():
    crash.clear_start_count()
    assert [crash.count_start() for _ in range(5)] == [False, False, False, True, True]
    crash.clear_start_count()
    assert not crash.count_start()
    crash.clear_start_count()
