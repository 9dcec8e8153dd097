"""The rule for names of buckets, which the object store, destinations and triggers share."""

import re
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")


def bucket_fault(name: str) -> str:
    """What is wrong with a bucket's name, "" where nothing is."""
    if _NAME.match(name) and ".." not in name:
        return ""
    return "must be 3 to 63 lower-case letters, digits, hyphens and single periods, with a letter or digit at both ends"
