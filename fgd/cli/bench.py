"""`fgd bench`: runs the programs of bench/, which live in the source tree."""

import argparse
import subprocess
import sys
from pathlib import Path

from fgd.cli.report import UsageError


def bench(args: argparse.Namespace) -> int:
    """Runs them all, or those named; prints a table, or one JSON line per program with --json."""
    folder = Path(__file__).resolve().parents[2] / "bench"
    if not (folder / "__main__.py").is_file():
        raise UsageError(f"bench: no programs at {folder}; they are in the source tree: run make bench there")
    command = [sys.executable, "-m", "bench", *(["--json"] if args.json else []), *args.programs]
    return subprocess.run(command, cwd=folder.parent, check=False).returncode
