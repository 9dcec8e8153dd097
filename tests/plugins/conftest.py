"""What tests of plugins share."""

import pytest


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of a topic or the like, different for every test."""
    raw = "".join(c if c.isalnum() else "-" for c in request.node.name)[:60].strip("-")
    return f"t-{raw}-{abs(hash(request.node.nodeid)) % 10000}"
