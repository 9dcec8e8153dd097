"""The one tree of errors.

`RequestError` is the caller's fault, `PlatformError` is ours. User code that fails is no exception of ours: it is
an `Outcome` (see `fgd.invoke.api`). Every class stands for one FSS code and its HTTP status; the API layer turns an
instance into `{"error_code": code, "error_msg": str(error)}`. Source: errors-and-limits of the FunctionGraph API.
"""

from typing import ClassVar


class FgdError(Exception):
    """Anything that fgd reports on purpose; `str(error)` is what the user reads.

    Say what happened, to what, and what to do about it; for bad input begin with the field's name.
    """

    code: ClassVar[str] = "FSS.0500"
    status_hint: ClassVar[int] = 500


class RequestError(FgdError):
    """The caller asked for something that cannot be."""

    code = "FSS.0400"
    status_hint = 400


class PlatformError(FgdError):
    """Something on our side failed."""


class BadParameter(RequestError):
    """400 FSS.0400: a parameter without a code of its own."""


class Unauthorized(RequestError):
    """401 FSS.0401: no credentials, or wrong ones."""

    code, status_hint = "FSS.0401", 401


class Forbidden(RequestError):
    """403 FSS.0403: valid credentials that do not reach this."""

    code, status_hint = "FSS.0403", 403


class NotFound(RequestError):
    """404 FSS.0404: no such resource or path."""

    code, status_hint = "FSS.0404", 404


class MethodNotAllowed(RequestError):
    """405 FSS.0405: the path exists, but not with this method."""

    code, status_hint = "FSS.0405", 405


class NotAcceptable(RequestError):
    """406 FSS.0406: malformed JSON, or a memory size that is not in the list."""

    code, status_hint = "FSS.0406", 406


class RequestTimeout(RequestError):
    """408 FSS.0408: the request was not sent in time."""

    code, status_hint = "FSS.0408", 408


class Conflict(RequestError):
    """409 FSS.0409."""

    code, status_hint = "FSS.0409", 409


class BodyTooLarge(RequestError):
    """413 FSS.0413: the body is over its limit."""

    code, status_hint = "FSS.0413", 413


class Overloaded(RequestError):
    """429 FSS.0429: no room for another request; the message is fixed by the user guide, section 3.8."""

    code, status_hint = "FSS.0429", 429

    def __init__(self) -> None:
        super().__init__("Your request has been controlled by overload sdk, please retry later.")


class BadQuery(RequestError):
    """400 FSS.1001: a query parameter is invalid."""

    code = "FSS.1001"


class BadFunctionName(RequestError):
    """400 FSS.1002."""

    code = "FSS.1002"


class BadHandler(RequestError):
    """400 FSS.1003."""

    code = "FSS.1003"


class BadPackage(RequestError):
    """400 FSS.1004: the app (group) name is invalid."""

    code = "FSS.1004"


class BadRuntime(RequestError):
    """400 FSS.1005."""

    code = "FSS.1005"


class BadCodeType(RequestError):
    """400 FSS.1006."""

    code = "FSS.1006"


class BadMemory(RequestError):
    """400 FSS.1007."""

    code = "FSS.1007"


class BadTimeout(RequestError):
    """400 FSS.1008."""

    code = "FSS.1008"


class BadUserData(RequestError):
    """400 FSS.1009."""

    code = "FSS.1009"


class BadCodeUrl(RequestError):
    """400 FSS.1010."""

    code = "FSS.1010"


class BadCode(RequestError):
    """400 FSS.1011: the code package is broken or hostile."""

    code = "FSS.1011"


class CodeMissing(RequestError):
    """400 FSS.1012."""

    code = "FSS.1012"


class BadFileType(RequestError):
    """400 FSS.1013."""

    code = "FSS.1013"


class BadAlias(RequestError):
    """400 FSS.1014: the name of an alias."""

    code = "FSS.1014"


class BadVersion(RequestError):
    """400 FSS.1015: the name of a version."""

    code = "FSS.1015"


class NothingChanged(RequestError):
    """400 FSS.1016: a version like `latest` has been published already."""

    code = "FSS.1016"


class UserDataTooMany(RequestError):
    """400 FSS.1017: more than 20 variables."""

    code = "FSS.1017"


class UserDataTooLarge(RequestError):
    """400 FSS.1018: more than 4,096 characters of keys and values."""

    code = "FSS.1018"


class DescriptionTooLong(RequestError):
    """400 FSS.1019: more than 512 characters."""

    code = "FSS.1019"


class ManyConfigurations(RequestError):
    """400 FSS.1022: an archive to import holds more than one YAML file."""

    code = "FSS.1022"


class ImportTooLarge(RequestError):
    """400 FSS.1023: an archive to import, or its YAML file, is too large."""

    code = "FSS.1023"


class BadConfiguration(RequestError):
    """400 FSS.1025: the YAML file of an archive to import is invalid or missing."""

    code = "FSS.1025"


class BadConcurrency(RequestError):
    """400 FSS.1026."""

    code = "FSS.1026"


class BadImportedPackage(RequestError):
    """400 FSS.1027: the app (group) name of an imported function is invalid."""

    code = "FSS.1027"


class RepeatedFunction(RequestError):
    """400 FSS.1058: the YAML file of an archive to import holds the same function twice."""

    code = "FSS.1058"


class MountTaken(RequestError):
    """400 FSS.1038: two mounts have the same access path."""

    code = "FSS.1038"


class BadMountPath(RequestError):
    """400 FSS.1039: the access path of a mount."""

    code = "FSS.1039"


class BadMountUser(RequestError):
    """400 FSS.1075: uid or gid of the mounts."""

    code = "FSS.1075"


class TooManyMounts(RequestError):
    """403 FSS.1049: more than 5 mounts."""

    code, status_hint = "FSS.1049", 403


class MountNotFound(RequestError):
    """404 FSS.1050: this node offers no such disk."""

    code, status_hint = "FSS.1050", 404


class MountNotReady(RequestError):
    """412 FSS.1095: the disk cannot be mounted now; the message says why."""

    code, status_hint = "FSS.1095", 412


class TooManyFunctions(RequestError):
    """403 FSS.1041."""

    code, status_hint = "FSS.1041", 403


class TooMuchCode(RequestError):
    """403 FSS.1042: the project's packages together are over their quota."""

    code, status_hint = "FSS.1042", 403


class VpcNotFound(RequestError):
    """400 FSS.1036: the node has no such network."""

    code = "FSS.1036"


class SubnetNotFound(RequestError):
    """400 FSS.1037: the network has no such subnet."""

    code = "FSS.1037"


class TooManySubnets(RequestError):
    """403 FSS.1048: the project's functions are on as many networks as they may be."""

    code, status_hint = "FSS.1048", 403


class SubnetNotActive(RequestError):
    """412 FSS.1090: the host cannot have the network now."""

    code, status_hint = "FSS.1090", 412


class TooManyVersions(RequestError):
    """403 FSS.0403: the function has as many versions as it may have; the cloud has no code of its own for it."""

    code, status_hint = "FSS.0403", 403


class TooManyAliases(RequestError):
    """403 FSS.1043."""

    code, status_hint = "FSS.1043", 403


class VersionInUse(RequestError):
    """403 FSS.1094: the version is an additional version of an alias."""

    code, status_hint = "FSS.1094", 403


class BadAdditionalVersion(RequestError):
    """400 FSS.1091."""

    code = "FSS.1091"


class BadWeight(RequestError):
    """400 FSS.1092."""

    code = "FSS.1092"


class SameVersions(RequestError):
    """400 FSS.1093: the additional version of an alias is its main version."""

    code = "FSS.1093"


class FunctionNotFound(RequestError):
    """404 FSS.1051."""

    code, status_hint = "FSS.1051", 404


class VersionNotFound(RequestError):
    """404 FSS.1052."""

    code, status_hint = "FSS.1052", 404


class AliasNotFound(RequestError):
    """404 FSS.1053."""

    code, status_hint = "FSS.1053", 404


class FunctionExists(RequestError):
    """409 FSS.1061."""

    code, status_hint = "FSS.1061", 409


class VersionExists(RequestError):
    """409 FSS.1062."""

    code, status_hint = "FSS.1062", 409


class AliasExists(RequestError):
    """409 FSS.1063."""

    code, status_hint = "FSS.1063", 409


class VersionHasAlias(RequestError):
    """409 FSS.1066: another alias has that version already."""

    code, status_hint = "FSS.1066", 409


class PackageTooLarge(RequestError):
    """413 FSS.1071: the uploaded package is over 50 MB."""

    code, status_hint = "FSS.1071", 413


class InlineCodeTooLarge(RequestError):
    """413 FSS.1072: inline code over 10 KB."""

    code, status_hint = "FSS.1072", 413


class TooManyReserved(RequestError):
    """400 FSS.1076: more reserved instances than a function may have, or than the node can keep."""

    code = "FSS.1076"


class PackageNotFound(RequestError):
    """404 FSS.1054: the code package is not in the object store."""

    code, status_hint = "FSS.1054", 404


class DependencyNotFound(RequestError):
    """404 FSS.1056."""

    code, status_hint = "FSS.1056", 404


class TemplateNotFound(RequestError):
    """404 FSS.1059."""

    code, status_hint = "FSS.1059", 404


class NameNotInConfiguration(RequestError):
    """404 FSS.1057: the YAML file of an archive to import does not hold a function of that name."""

    code, status_hint = "FSS.1057", 404


class EventTemplateNotFound(RequestError):
    """404 FSS.1060."""

    code, status_hint = "FSS.1060", 404


class TooManyTags(RequestError):
    """403 FSS.0403: the function would have more tags than it may; the cloud has no code of its own for it."""

    code, status_hint = "FSS.0403", 403


class TooManyTestEvents(RequestError):
    """403 FSS.1068: the function has ten test events."""

    code, status_hint = "FSS.1068", 403


class TestEventTooLarge(RequestError):
    """403 FSS.1069: a test event is over 4 KB."""

    code, status_hint = "FSS.1069", 403


class BadDependency(RequestError):
    """400 FSS.1024: a field or the package of a dependency, or one that an imported function does not find here."""

    code = "FSS.1024"


class DependencyNameTaken(RequestError):
    """400 FSS.1031: a dependency cannot be renamed to the name of another one."""

    code = "FSS.1031"


class BadDependencyType(RequestError):
    """400 FSS.1032."""

    code = "FSS.1032"


class DependencyInUse(RequestError):
    """412 FSS.1033: a function version has it."""

    code, status_hint = "FSS.1033", 412


class TooManyDependencies(RequestError):
    """403 FSS.1045: more than 20 of a function, or over the quota of the project."""

    code, status_hint = "FSS.1045", 403


class DependencyUnreadable(RequestError):
    """403 FSS.1046: its package is missing from the state directory."""

    code, status_hint = "FSS.1046", 403


class DependencyExists(RequestError):
    """409 FSS.1065."""

    code, status_hint = "FSS.1065", 409


class DependencyClash(RequestError):
    """424 FSS.0424: the code and the dependencies of a function cannot lie beside each other."""

    code, status_hint = "FSS.0424", 424


class TestEventNotFound(RequestError):
    """404 FSS.1070."""

    code, status_hint = "FSS.1070", 404


class TestEventExists(RequestError):
    """403 FSS.1073: the function has a test event of that name."""

    code, status_hint = "FSS.1073", 403


class BadTestEvent(RequestError):
    """400 FSS.1074: a field of a test event is invalid."""

    code = "FSS.1074"


class BadTriggerType(RequestError):
    """400 FSS.1101."""

    code = "FSS.1101"


class TooManyTriggers(RequestError):
    """403 FSS.1123: ten of those that count."""

    code, status_hint = "FSS.1123", 403


class AliasHasTriggers(RequestError):
    """403 FSS.1154."""

    code, status_hint = "FSS.1154", 403


class AgencyMissing(RequestError):
    """403 FSS.1121: a function names an agency that the project does not have."""

    code, status_hint = "FSS.1121", 403


class AgencyDenied(RequestError):
    """403 FSS.1122: the caller may not give that agency to a function."""

    code, status_hint = "FSS.1122", 403


class ActionDenied(RequestError):
    """403 FSS.1125: the caller's policies do not allow this operation."""

    code, status_hint = "FSS.1125", 403


class AgencyInUse(RequestError):
    """409 FSS.0409: a function has the agency."""

    code, status_hint = "FSS.0409", 409


class ApiObjectNotFound(RequestError):
    """404 FSS.1138: no such group, environment, app, policy or API of the gateway."""

    code, status_hint = "FSS.1138", 404


class ApiPathTaken(RequestError):
    """409 FSS.1147: another API has that method and path."""

    code, status_hint = "FSS.1147", 409


class TooManyApis(RequestError):
    """403 FSS.1124."""

    code, status_hint = "FSS.1124", 403


class ApiRefused(RequestError):
    """What the gateway answers to a request for an API; with the codes of APIG, such as APIG.0101."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # one class for the gateway's own table
        self.status_hint = status  # type: ignore[misc]


class TriggerNotFound(RequestError):
    """404 FSS.1131."""

    code, status_hint = "FSS.1131", 404


class StreamNotFound(RequestError):
    """404 FSS.1130: the node has no stream of that name."""

    code, status_hint = "FSS.1130", 404


class LogStreamNotFound(RequestError):
    """404 FSS.1161: the project has no such log group or stream."""

    code, status_hint = "FSS.1161", 404


class LogLoop(RequestError):
    """400 FSS.1110: a function would be invoked by its own log."""

    code = "FSS.1110"


class TopicNotFound(RequestError):
    """404 FSS.1171: there is no such SMN topic."""

    code, status_hint = "FSS.1171", 404


class LogsEnabled(RequestError):
    """400 FSS.1221: the log is on already."""

    code = "FSS.1221"


class EventTooLarge(RequestError):
    """413 FSS.1201: the event is over its limit."""

    code, status_hint = "FSS.1201", 413


class BadUrn(RequestError):
    """400 FSS.1309."""

    code = "FSS.1309"


class BadInitializer(RequestError):
    """400 FSS.1404."""

    code = "FSS.1404"


class BadInitializerTimeout(RequestError):
    """400 FSS.1405."""

    code = "FSS.1405"


class FunctionDisabled(RequestError):
    """403 FSS.0403: the function is disabled and refuses every invocation."""

    code, status_hint = "FSS.0403", 403


class NotBuilt(PlatformError):
    """501 FSS.0501: a part of the FunctionGraph API that this version of fgd does not have."""

    code, status_hint = "FSS.0501", 501


class Unavailable(PlatformError):
    """503 FSS.0503: shutting down, or a part of fgd is being restarted."""

    code, status_hint = "FSS.0503", 503


class ObjectStoreAway(PlatformError):
    """503 FSS.0503: an object store of others cannot be reached, or refuses what the daemon asks of it."""

    code, status_hint = "FSS.0503", 503


class StorageFull(PlatformError):
    """503 FSS.0503: the state directory's disk is full or failing; nothing was stored."""

    code, status_hint = "FSS.0503", 503


class GatewayTimeout(PlatformError):
    """504 FSS.0504: no answer within the gateway's limit; the function runs on."""

    code, status_hint = "FSS.0504", 504


class SandboxError(PlatformError):
    """500 FSS.0500: a sandbox could not be made."""


class StateError(PlatformError):
    """500 FSS.0500: the state directory cannot be used (locked, from a newer version, damaged)."""
