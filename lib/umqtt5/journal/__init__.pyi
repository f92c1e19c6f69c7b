from .journal import Journal as Journal

__all__ = ("Journal",)
