"""Crash bookkeeping: the saved traceback, the count of crashes, safe mode."""

import os

from app import crash


def clean():
    crash.clear_count()
    crash.delete_log()
    crash.is_reset_expected = False


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def start(reset_cause="power on"):
    """Begin a start in a new program; returns the reason for safe mode, None for a normal start."""
    crash.is_reset_expected = False
    return crash.begin_start(reset_cause)


def end_with_exception():
    crash.count(OSError(5))


def test_a_traceback_is_saved_until_it_is_deleted():
    clean()
    try:
        raise ValueError("the pump is gone")
    except ValueError as error:
        crash.save(error)
    assert b"ValueError: the pump is gone" in read_file("crash.txt")
    crash.delete_log()
    assert "crash.txt" not in os.listdir()
    crash.delete_log()  # deleting it again does no harm


def test_a_saved_traceback_has_at_most_1500_bytes():
    try:
        raise ValueError("x" * 5000)
    except ValueError as error:
        crash.save(error)
    assert os.stat("crash.txt")[6] <= 1500
    clean()


def test_after_three_exceptions_the_next_start_is_in_safe_mode():
    clean()
    for _ in range(3):
        assert start("reset") is None
        end_with_exception()
    assert "3 crashes, the last one: OSError" in start("reset")
    clean()


def test_after_three_watchdog_resets_the_next_start_is_in_safe_mode():
    clean()
    assert [start("watchdog") for _ in range(3)] == [None, None, "3 crashes, the last one: watchdog reset"]
    clean()


def test_power_cuts_and_resets_are_not_crashes():
    clean()
    for cause in ("power on", "reset", "deep sleep", "soft reset", "unknown", "") * 3:
        assert start(cause) is None
    assert "crash_count" not in os.listdir()  # a start without a crash does not write to flash


def test_a_planned_reset_is_not_a_crash_on_a_board_that_reports_it_as_watchdog_reset():
    clean()
    for _ in range(5):
        crash.expect_reset()
        assert start("watchdog") is None
    assert start("watchdog") is None  # the first crash
    assert start("watchdog") is None
    assert start("watchdog")
    clean()


def test_a_crash_is_counted_once_if_the_watchdog_resets_the_board_after_the_exception():
    clean()
    for _ in range(2):
        end_with_exception()
        assert start("watchdog") is None
    end_with_exception()
    assert start("watchdog")
    clean()


def test_crashes_before_a_stable_run_do_not_count():
    clean()
    for _ in range(5):
        end_with_exception()
        assert start() is None
        end_with_exception()
        assert start() is None
        crash.clear_count()  # the run is stable


def test_after_safe_mode_one_more_crash_leads_to_safe_mode_again():
    clean()
    for _ in range(3):
        end_with_exception()
    assert start() and start()  # a power cut does not end safe mode
    crash.leave_safe_mode()
    assert start("watchdog") is None  # the restart at the end of safe mode
    end_with_exception()
    assert start()
    clean()


def test_a_crash_in_safe_mode_leads_to_a_normal_start():
    clean()
    for _ in range(3):
        end_with_exception()
    assert start()
    end_with_exception()
    assert start() is None
    end_with_exception()
    assert start()
    assert start("watchdog") is None
    clean()


def test_a_damaged_count_is_no_crash():
    for content in (b"", b"\xff" * 40, b"\0" * 40, b"x", b"-3 + \n", b"99999999999999999999", b"2", b"....."):
        with open("crash_count", "wb") as file:
            file.write(content)
        reason = start("reset")
        assert reason is None or content[:1] == b"9", content
        clean()


def test_the_cause_is_one_line_of_printable_characters():
    clean()
    for _ in range(3):
        crash.count(ValueError("a\nb\x1b[31m\u00e9" + "x" * 300))
    reason = start()
    assert reason.startswith("3 crashes, the last one: ValueError: ab[31m") and len(reason) < 120, reason
    clean()


def test_a_count_that_cannot_be_changed_does_not_keep_the_device_in_safe_mode():
    def open_read_only(path, mode):
        if "w" in mode:
            raise OSError(30)
        return open(path, mode)

    clean()
    for _ in range(3):
        end_with_exception()
    crash.open = open_read_only
    try:
        assert start() is None
    finally:
        del crash.open
    assert start()
    clean()


def test_an_error_of_flash_is_reported_without_reading_a_module_from_flash():
    # with FAT, reads fail as well while writes fail
    assert crash._report.__name__ == "report"  # of `flash_error`, loaded together with `crash`
