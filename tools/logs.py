def main() -> None:
    """x"""
