"""Fields of groups, environments, apps and throttling policies of the gateway, as requests carry them."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from fgd.errors import BadParameter

Name = Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
Description = Annotated[str, Meta(max_length=255)]
Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9]$", max_length=253)]
ApiIds = Annotated[tuple[str, ...], Meta(max_length=1000)]
Count = Annotated[int, Meta(ge=0, le=2147483647)]


class GroupBody(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Description = ""
    domains: Annotated[tuple[Host, ...], Meta(max_length=16)] = ()


class EnvironmentBody(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Description = ""


class AppBody(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Description = ""
    apis: ApiIds = ()


class ThrottleBody(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Description = ""
    interval: Annotated[int, Meta(ge=1, le=86400)] = 1
    unit: Literal["SECOND", "MINUTE", "HOUR", "DAY"] = "SECOND"
    api_limit: Annotated[int, Meta(ge=1, le=2147483647)]
    user_limit: Count = 0
    app_limit: Count = 0
    ip_limit: Count = 0
    shared: bool = False
    apis: ApiIds = ()


def read[T: Struct](kind: type[T], body: Mapping[str, object], known: Mapping[str, object]) -> T:
    """The fields of a body; those that are absent or null are as they were.

    Raises:
        BadParameter: names the field and the rule.
    """
    given = {name: value for name, value in body.items() if value is not None}
    try:
        fields = msgspec.convert({**known, **given}, kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        field = path.removesuffix("`").lstrip(".")
        if not field and "`" in text:
            field = text.split("`")[1]
        raise BadParameter(f"{field or 'body'}: {text}") from error
    if isinstance(fields, ThrottleBody):
        for name in ("user_limit", "app_limit", "ip_limit"):
            if getattr(fields, name) > fields.api_limit:
                raise BadParameter(f"{name}: must not be larger than api_limit, {fields.api_limit}")
    return fields
