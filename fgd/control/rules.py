"""The rules of single fields: each function takes what the client sent and gives what is stored, or raises.

Every message begins with the field's name and says the rule. Codes: errors-and-limits, section 1.2.
"""

import re
from collections.abc import Collection

from fgd.control.languages import PYTHON
from fgd.errors import (
    BadConcurrency,
    BadFunctionName,
    BadHandler,
    BadInitializer,
    BadInitializerTimeout,
    BadMemory,
    BadPackage,
    BadParameter,
    BadRuntime,
    BadTimeout,
    DescriptionTooLong,
    NotBuilt,
    RequestError,
)
from fgd.model import UNLIMITED
from fgd.runtime import CLOUD_IDS, how_to_get
from fgd.units import MEMORY_SIZES_MIB

_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,58}[A-Za-z0-9])?\Z")
_NAME_RULE = (
    "must be 1 to 60 letters, digits, hyphens and underscores, begin with a letter and end with a letter or digit"
)

TIMEOUT_S = (3, 259_200)
INITIALIZER_TIMEOUT_S = (1, 300)
HANDLER_MAX_CHARS = 128
DESCRIPTION_MAX_CHARS = 512
INSTANCES_MAX = 1000
CONCURRENT_MAX = 1000


def shown(value: object) -> str:
    """A client's value, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(field: str, value: object, error: type[RequestError] = BadParameter) -> str:
    """A string, whatever it says."""
    if not isinstance(value, str):
        raise error(f"{field}: must be a string, not {shown(value)}")
    if "\0" in value:
        raise error(f"{field}: must not hold a NUL character")
    return value


def whole(field: str, value: object, low: int, high: int, error: type[RequestError], unit: str = "") -> int:
    """A whole number within a range; JSON `true` and `3.0` are none."""
    if type(value) is not int or not low <= value <= high:
        raise error(f"{field}: must be a whole number from {low} to {high}{unit and ' ' + unit}, not {shown(value)}")
    return value


def flag(field: str, value: object) -> bool:
    """A JSON boolean."""
    if type(value) is not bool:
        raise BadParameter(f"{field}: must be true or false, not {shown(value)}")
    return value


def function_name(value: object) -> str:
    """User guide, section 2.2.1."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise BadFunctionName(f"func_name: {_NAME_RULE}, not {shown(value)}")
    return value


def package_name(value: object) -> str:
    """The group of a function; its rule is that of names."""
    if not isinstance(value, str) or not _NAME.match(value):
        raise BadPackage(f"package: {_NAME_RULE}, not {shown(value)}")
    return value


def unchangeable(field: str, value: object, stored: str) -> None:
    """Fields that name a function or its runtime stay for its life (user guide, section 2.2.1)."""
    if value != stored:
        error = {"func_name": BadFunctionName, "package": BadPackage, "runtime": BadRuntime}[field]
        raise error(f"{field}: cannot be changed; the function has {stored!r}, not {shown(value)}")


def runtime(value: object, installed: Collection[str]) -> str:
    """A runtime id that this node can run.

    Raises:
        BadRuntime: not an id at all, or one whose interpreter is not on this host.
        NotBuilt: a runtime of FunctionGraph in a language that fgd does not run.
    """
    if isinstance(value, str) and value in installed:
        return value
    usable = ", ".join(sorted(installed)) or "none; `fgd doctor` says what is missing"
    hint = how_to_get(value) if isinstance(value, str) else None
    if hint is None:
        known = ", ".join(dict.fromkeys((*CLOUD_IDS, *sorted(installed))))
        raise BadRuntime(f"runtime: must be one of {known} (spelled so), not {shown(value)}")
    if value in CLOUD_IDS and not str(value).startswith(PYTHON):
        raise NotBuilt(f"runtime: {value}: {hint}; possible on this node: {usable}")
    raise BadRuntime(f"runtime: {value} is not on this node; {hint}; possible now: {usable}")


def timeout_s(value: object) -> int:
    """Seconds one invocation may take (user guide, section 3.2)."""
    return whole("timeout", value, *TIMEOUT_S, BadTimeout, "seconds")


def memory_mib(value: object) -> int:
    """One of the sizes of the user guide, section 3.2."""
    if type(value) is not int or value not in MEMORY_SIZES_MIB:
        sizes = ", ".join(map(str, MEMORY_SIZES_MIB))
        raise BadMemory(f"memory_size: must be one of {sizes} (MB), not {shown(value)}")
    return value


def description(value: object) -> str:
    """Free text."""
    text = text_of("description", value)
    if len(text) > DESCRIPTION_MAX_CHARS:
        raise DescriptionTooLong(f"description: must be at most {DESCRIPTION_MAX_CHARS} characters, not {len(text)}")
    return text


def entry(field: str, value: object, runtime_id: str, error: type[RequestError], low: int) -> str:
    """A `file.function` of the given runtime; a Python file may sit in a folder (`src/index.handler`)."""
    if not isinstance(value, str) or not low <= len(value) <= HANDLER_MAX_CHARS:
        raise error(f"{field}: must be text of {low} to {HANDLER_MAX_CHARS} characters, not {shown(value)}")
    if not runtime_id.startswith(PYTHON):
        return value
    module, dot, name = value.rpartition(".")
    parts = module.split("/")
    if not dot or not name.isidentifier() or not all(re.match(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", p) for p in parts):
        raise error(
            f"{field}: must be file.function, such as index.handler for `def handler` in index.py "
            f"(or folder/index.handler), not {shown(value)}"
        )
    return value


def handler(value: object, runtime_id: str) -> str:
    """The entry of every event: 3 to 128 characters with a `.` (API reference)."""
    return entry("handler", value, runtime_id, BadHandler, 3)


def initializer(value: object, runtime_id: str) -> str:
    """The entry run once per instance; "" means none (user guide, section 3.1)."""
    return "" if value == "" else entry("initializer_handler", value, runtime_id, BadInitializer, 1)


def initializer_timeout_s(value: object) -> int:
    """Seconds the initializer may take; 0 where there is none."""
    if type(value) is int and value == 0:
        return 0
    return whole("initializer_timeout", value, *INITIALIZER_TIMEOUT_S, BadInitializerTimeout, "seconds")


def entries_agree(handler_text: str, initializer_text: str, timeout: int) -> None:
    """The initializer is in the handler's file and has a timeout (user guide, section 3.1)."""
    if not initializer_text:
        return
    if not timeout:
        low, high = INITIALIZER_TIMEOUT_S
        raise BadInitializerTimeout(
            f"initializer_timeout: must be {low} to {high} seconds when there is an initializer_handler"
        )
    here, there = handler_text.rpartition(".")[0], initializer_text.rpartition(".")[0]
    if here != there:
        raise BadInitializer(
            f"initializer_handler: must be in the handler's file, {here!r}, not in {there!r} (user guide, section 3.1)"
        )


def max_instances(field: str, value: object) -> int:
    """Instances at once: -1 no limit, 0 disabled, else 1 to 1000 (user guide, section 3.8)."""
    if type(value) is not int or not UNLIMITED <= value <= INSTANCES_MAX:
        raise BadConcurrency(
            f"{field}: must be -1 (no limit), 0 (disabled) or 1 to {INSTANCES_MAX}, not {shown(value)}"
        )
    return value


def concurrent_num(value: object) -> int:
    """Requests that one instance takes at once."""
    return whole("strategy_config.concurrent_num", value, 1, CONCURRENT_MAX, BadConcurrency)
