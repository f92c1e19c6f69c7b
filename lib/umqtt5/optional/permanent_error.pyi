class PermanentError(OSError):
    is_permanent: bool
