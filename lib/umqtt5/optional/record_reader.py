"""Reading of a record log after a restart: chooses the file that is complete, and finds its records.

The functions take a `journal.record_log.RecordLog`. A program that is short of heap may unload this module
when the records are read.
"""

from micropython import const

from ..core.wire import get_u16

# as in `record_log`
_HEAD = const(6)
_OVERHEAD = const(10)
_HEADER = const(0)
_COMPLETE = const(255)


def read_records(log):
    """Iterate over the complete records of a log: see `RecordLog.records`."""
    sizes = [log._open(0), log._open(1)]
    found = []  # (complete, generation) of each file, None if it has no header
    for which in (0, 1):
        log._open(which)
        if _has_header(log, sizes[which]):
            complete = False
            if sizes[1 - which]:  # only needed to choose between two files
                for record in _scan(log, sizes[which]):
                    complete = complete or record[0] == _COMPLETE
            found.append((complete, log._generation))
        else:
            found.append(None)
    log._at = _choose(found)
    other = 1 - log._at
    empty = 2 * _OVERHEAD + len(log._magic)  # size of a file in which `dump` wrote no records
    log.torn_bytes = log.damaged_bytes = 0
    if found[log._at]:
        log._open(log._at)
        log._generation = log._complete_generation = found[log._at][1]
        complete = False
        for record in _scan(log, sizes[log._at]):
            complete = complete or record[0] == _COMPLETE
            if 0 < record[0] < _COMPLETE:
                yield record
        if not complete and sizes[log._at] > empty:
            log.damaged_bytes += sizes[other]
        # append only to a valid file, and only if it is the only file; otherwise begin a new one
        log._is_complete = complete and not (sizes[other] or log.torn_bytes or log.damaged_bytes)
    elif max(sizes) > empty:
        log.damaged_bytes = sum(sizes)
    else:
        log.torn_bytes = sum(sizes)


def _choose(found):
    """Return the index of the file that has all records; `found` has (complete, generation) of each."""
    if not (found[0] and found[1]):
        return 1 if found[1] else 0
    newer = 1 if (found[1][1] - found[0][1]) & 0xFFFF < 0x8000 else 0
    return newer if found[newer][0] else 1 - newer


def _has_header(log, size):
    """Return True if the file begins with a header of this type of log."""
    n = len(log._magic)
    magic = bytearray(n)
    try:
        if size < n + _OVERHEAD:
            return False
        log.read(0, log._head, _HEAD)
        log._generation = get_u16(log._head, 1)
        if log._head[0] != _HEADER or _body_size(log, 0, size) != n:
            return False
        log.read(_HEAD, magic, n)
    except OSError:
        pass
    return magic == log._magic


def _body_size(log, at, end):
    """Return the body size of the record at this offset, -1 if there is none; its head is in `_head`."""
    try:
        return _read_record(log, at, end)
    except OSError:
        return -1


def _read_record(log, at, end):
    head = log._head
    log.read(at, head, _HEAD)
    size = head[3] << 16 | get_u16(head, 4)
    if at + size + _OVERHEAD > end or (at and not head[0]):
        return -1
    log._begin_checksum(at)
    log._add_to_checksum(head, 0, _HEAD)
    piece = bytearray(64)
    left = size
    while left:
        n = min(left, 64)
        log._file.readinto(piece, n)
        log._add_to_checksum(piece, 0, n)
        left -= n
    log._file.readinto(piece, 4)
    return size if get_u16(piece, 0) == log._sum_a and get_u16(piece, 2) == log._sum_b else -1


def _scan(log, size):
    """Iterate over the valid records of the open file, whose size is `size`."""
    log.torn_bytes = log.damaged_bytes = log.end = at = 0
    search = None
    while at + _OVERHEAD <= size:
        n = -1
        if not search:
            n = _body_size(log, at, size)
        if n < 0:
            try:
                search = search or begin_search(log, at, size)
            except MemoryError:
                log.damaged_bytes += size - at
                log.end = size
                break
            at = search.find(at)
            if at == size:
                break
            n = log._head[3] << 16 | get_u16(log._head, 4)
        log.damaged_bytes += at - log.end
        record = (log._head[0], get_u16(log._head, 1), at + _HEAD, n)
        at += n + _OVERHEAD
        log.end = at
        yield record
    log.torn_bytes = size - log.end


def begin_search(log, at, size):
    """Return a search for valid records in a damaged file: see `record_search`."""
    from .record_search import RecordSearch

    return RecordSearch(log, at, size)
