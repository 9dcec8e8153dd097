"""Function URNs: `urn:fss:<region>:<project>:function:<package>:<name>[:<version> | :!<alias>]`.

Short forms of 1, 2, 3 and 4 fields are accepted too: name; package:name; project:package:name;
project:package:name:version-or-alias (rest-api, 1.4). Paths arrive percent-encoded or raw; decode before parsing.
"""

import re
from dataclasses import dataclass

from fgd.errors import BadUrn

MAX_CHARS = 269
DEFAULT_PACKAGE = "default"
LATEST = "latest"
_FIELD = re.compile(r"[A-Za-z0-9_.\-!]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class FunctionUrn:
    """A parsed URN. `qualifier` is `latest`, a version, or an alias with its leading `!`."""

    project_id: str
    package: str
    name: str
    qualifier: str = LATEST

    def text(self, region: str) -> str:
        """The 8-field form that answers carry."""
        return f"urn:fss:{region}:{self.project_id}:function:{self.package}:{self.name}:{self.qualifier}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the function, whichever version."""
        return (self.project_id, self.package, self.name)


def parse_urn(text: str, default_project: str) -> FunctionUrn:
    """Reads any of the accepted forms.

    Args:
        text: decoded path segment or parameter.
        default_project: project of the forms that name none.

    Raises:
        BadUrn: not a URN; the message says which field and which rule.
    """
    if not text or len(text) > MAX_CHARS:
        raise BadUrn(f"function_urn: must be 1 to {MAX_CHARS} characters, not {len(text)}")
    fields = text.split(":")
    for field in fields:
        if not _FIELD.match(field):
            raise BadUrn(f"function_urn: the field {field[:40]!r} has a character that no URN has, or is empty")
    if fields[0] == "urn":
        if len(fields) not in (7, 8) or fields[1] != "fss" or fields[4] != "function":
            raise BadUrn(
                "function_urn: must be urn:fss:<region>:<project>:function:<package>:<name>[:<version or !alias>]"
            )
        return FunctionUrn(fields[3], fields[5], fields[6], fields[7] if len(fields) == 8 else LATEST)
    match fields:
        case [name]:
            return FunctionUrn(default_project, DEFAULT_PACKAGE, name)
        case [package, name]:
            return FunctionUrn(default_project, package, name)
        case [project, package, name]:
            return FunctionUrn(project, package, name)
        case [project, package, name, qualifier]:
            return FunctionUrn(project, package, name, qualifier)
    raise BadUrn(f"function_urn: has {len(fields)} fields; 1, 2, 3, 4, 7 or 8 are possible")
