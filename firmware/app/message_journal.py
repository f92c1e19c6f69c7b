"""The outbox on flash, where the config asks for it: what was accepted outlives a power cut.

Where flash fails the device goes on without: a message is then kept in RAM only.
"""

import gc
import os
import sys

from umqtt5.journal import Journal

_PATH = "journal"
_LONG = 1000  # ms


class NullRecordLog:
    """In place of the log of a journal whose flash has failed."""

    torn_bytes = damaged_bytes = 0

    def begin_record(self, kind, number, size):
        pass

    write = begin_record

    def end_record(self):
        pass

    sync = close = end_record


class MessageJournal:
    """`size` is that of each of its two files, in bytes. Prints why where there will be no journal."""

    _journal = None

    def __init__(self, client, name, size):
        self._name = name
        try:
            self._journal = journal = Journal(client, _PATH, size)
        except (OSError, ValueError) as error:
            print("%s: journal: %s: messages do not outlive a restart" % (name, error))
            return
        finally:
            # what has read the files is not needed again
            sys.modules.pop("umqtt5.optional.journal_recovery", None)
            package = sys.modules.get("umqtt5.optional")
            if hasattr(package, "journal_recovery"):
                del package.journal_recovery
            gc.collect()
        client._poll_hooks.append(self._check)
        if journal.restored_count:
            print("%s: %d messages of before the restart" % (name, journal.restored_count))
        if journal.damaged_bytes:
            print("%s: journal: %d bytes are damaged" % (name, journal.damaged_bytes))

    def _check(self, now):
        """One of the client's chores: go on without the journal where flash has failed."""
        if self._journal and self._journal.error:
            self._give_up(self._journal)
        return _LONG

    def _give_up(self, journal):
        print("%s: journal: %s: messages do not outlive a restart" % (self._name, journal.error))
        self._journal = None
        try:
            journal.record_log.close()
        except OSError:
            pass
        journal.record_log = NullRecordLog()
        for which in (".0", ".1"):
            try:
                os.remove(_PATH + which)  # else old messages would come again
            except OSError:
                pass
