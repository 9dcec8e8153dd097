"""The daemon's own log: stdlib logging to standard error, one line a record, levels as systemd's journal reads them."""

import logging
import os
import sys

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Lines(logging.Formatter):
    """`LEVEL logger: text`; with a time where no journal adds it, with `<priority>` where one reads it."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._journal = journal

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name is the library's
        """Texts of clients and functions may be in a message: none of them begins a line of its own here."""
        if not record.message.isprintable():
            record.message = "".join(
                char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in record.message
            )
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        return "\n".join(f"<{_PRIORITY.get(record.levelno, 6)}>{line}" for line in text.splitlines())


def set_up_logging(level: str) -> None:
    """Sends everything to standard error; may be called again to change the level."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Lines(journal="JOURNAL_STREAM" in os.environ))
        root.addHandler(handler)
    # One line per request of the control plane is not for the daemon's log, and addresses of targets may hold secrets.
    for name in ("hypercorn.access", "quart.serving", "quart.app", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
