"""Message journal: keeps unsent MQTT messages on flash, so that they survive a restart or a power cut.

The journal is used if `journal` is set in the config. If flash fails, the device continues with messages in
RAM only, and tries every 5 minutes to use the journal again.
"""

import gc
import os
from time import ticks_add, ticks_diff

from micropython import const

from umqtt5.journal import Journal

from .node.modules import release_modules

_PATH = "journal"
_CHECK = const(1000)  # ms
_RETRY = const(300000)  # ms between two tries to write to a flash that has failed


class _NullRecordLog:
    """A record log that stores nothing; it replaces the log of a journal whose flash has failed."""

    torn_bytes = damaged_bytes = 0

    def begin_record(self, kind, number, size):
        pass

    write = begin_record

    def end_record(self):
        pass

    sync = end_record


class MessageJournal:
    """The journal of the client's outbox: files `journal.0` and `journal.1` of at most `size` bytes each.

    If the files cannot be used, the reason is printed and the device runs without a journal.
    """

    _journal = None
    _record_log = None  # RecordLog of the journal while flash fails
    _retry_at = 0  # ticks

    def __init__(self, client, name, size):
        self._name = name
        try:
            self._journal = journal = Journal(client, _PATH, size)
        except (OSError, ValueError, MemoryError) as error:
            self._print_error(error)
            return
        finally:
            # unload the modules that have read the files, because they are not needed again
            for module in ("journal_recovery", "record_reader", "record_search"):
                release_modules("umqtt5.optional." + module)
            gc.collect()
        # free the code that has created the journal, because there is only one
        type(journal).__init__ = type(journal.record_log).__init__ = type(journal.outbox).__init__ = None
        type(journal)._open = type(journal)._hook = type(journal)._needed_size = None
        client._poll_hooks.append(self._check)
        if journal.restored_count:
            print("%s: journal: %d messages restored" % (name, journal.restored_count))
        if journal.damaged_bytes:
            print("%s: journal: %d damaged bytes skipped" % (name, journal.damaged_bytes))
            if isinstance(journal.error, ValueError):
                journal.error = None  # the files were damaged, but the flash works

    def _print_error(self, error):
        print("%s: journal: %s; unsent messages are lost at a restart" % (self._name, error))

    def _check(self, now):
        """Stop using flash if it has failed, and try it again later; the client calls this from `poll`."""
        journal = self._journal
        if self._record_log:
            journal.error = None
            if ticks_diff(now, self._retry_at) >= 0:
                self._retry(journal, now)
        elif journal.error:
            self._disable(journal, now)
        return _CHECK

    def _disable(self, journal, now):
        self._print_error(journal.error)
        journal.error = None
        self._record_log = journal.record_log
        self._retry_at = ticks_add(now, _RETRY)
        journal.record_log = _NullRecordLog()
        self._remove_files()

    def _retry(self, journal, now):
        """Write all unsent messages to a new file."""
        self._retry_at = ticks_add(now, _RETRY)
        null_log, journal.record_log = journal.record_log, self._record_log
        try:
            journal.record_log.rotate()
        except (OSError, MemoryError):
            journal.record_log = null_log
            self._remove_files()
            return
        self._record_log = None
        print("%s: journal: flash works again" % self._name)

    def _remove_files(self):
        """Remove the files; otherwise old messages would be sent again after the next start."""
        self._record_log._close_file()
        for suffix in (".0", ".1"):
            try:
                os.remove(_PATH + suffix)
            except OSError:
                pass
