"""What plugins import: everything here is public, and nothing else of fgd is."""

from fgd.hookspecs import hookimpl

__all__ = ["hookimpl"]
