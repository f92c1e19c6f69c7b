"""Random numbers that are the same in all interpreters."""


class Random:
    """A small generator; a seed determines its numbers."""

    def __init__(self, seed):
        self._state = seed * 2654435761 % (1 << 30) + 1

    def below(self, limit):
        """Return a number from 0 to `limit` - 1."""
        self._state = (self._state * 69069 + 12345) % (1 << 30)
        return (self._state >> 8) % limit

    def choice(self, items):
        """Return one of the items."""
        return items[self.below(len(items))]
