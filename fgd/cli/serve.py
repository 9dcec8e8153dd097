"""`fgd serve`."""

import argparse


def serve(args: argparse.Namespace) -> int:
    """Hands over to the daemon; returns when it has ended."""
    from fgd.daemon import serve as run_daemon

    return run_daemon(args)
