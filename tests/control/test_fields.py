"""Parsers of request bodies take any JSON: what they give or raise is always ours."""

import pytest

from fgd.api.table import OPERATIONS
from fgd.config import Config
from fgd.control.asyncs import parse_async_config
from fgd.control.features import ECHOED, UNBUILT
from fgd.control.fields import parse_change, parse_code, parse_max_instances, parse_new
from fgd.control.targets import Targets
from fgd.errors import FgdError
from fgd.invoke.resolve import Directory
from tests.control.test_directory import function
from tests.control.world import INSTALLED, FixedNode, builtin_kinds, inline

TARGETS = Targets(builtin_kinds(FixedNode(Config())), Directory())
ODD: list[object] = [
    None, True, 0, -1, 1.5, "", "x", "\x00", "\U0001f600" * 70, "a" * 5000, [], {}, [[]], {"a": None}, {"a": {}},
    {"file": []}, {"file": "x"}, {"concurrency": []}, {"func_mounts": 1}, 10**18,
]  # fmt: skip
FIELDS = sorted(
    {name for operation in OPERATIONS for name in operation.fields} | {*UNBUILT, *ECHOED, "code_url", "mount_config"}
)


@pytest.mark.parametrize("field", FIELDS)
def test_odd_values_are_never_our_fault(field: str) -> None:
    old = function("odd")
    new = {"func_name": "odd", "runtime": "Python3.12", **inline("x = 1\n")}
    for value in ODD:
        body = {field: value}
        for parse in (
            lambda b: parse_new({**new, **b}, INSTALLED),
            lambda b: parse_change(b, old),
            lambda b: parse_code({"code_type": "inline", **b}, old),
            lambda b: parse_max_instances(b),
            lambda b: parse_async_config(b, TARGETS),
        ):
            try:
                parse(body)
            except FgdError as error:
                assert error.status_hint in (400, 413, 501), (body, error)
                assert ":" in str(error)
