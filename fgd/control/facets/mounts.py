"""The disks of a function and the size of its /tmp: `mount_config`, `ephemeral_storage` (user guide, section 3.5)."""

import re
from collections.abc import Mapping
from typing import Final

from fgd.control import rules
from fgd.control.disks import Disks
from fgd.errors import BadMountPath, BadMountUser, BadParameter, TooManyMounts
from fgd.model import Function, FunctionMount
from fgd.sandbox.mount_plan import MOUNTS_MAX

_FIELD: Final = "mount_config"
_STORAGE: Final = "ephemeral_storage"
_STORAGE_MIB: Final = (512, 10240)
_ID_MAX: Final = 65534
_ID_TEXT: Final = re.compile(r"-1|[1-9][0-9]{0,4}")
#: Root, and two ids that FunctionGraph keeps for itself.
_TAKEN_IDS: Final = (0, 1000, 1002)
_TEXT_MAX_CHARS: Final = 1100
#: The official SDK's name of a field, and Terraform's.
_USER_NAMES: Final = {"mount_uid": ("user_id", "mount_user_id"), "mount_gid": ("user_group_id", "mount_user_group_id")}


class MountsFacet:
    """`fgd.control.facet.Facet`. That the disks are there is tried by `Disks.verify`."""

    wire: tuple[str, ...] = (_FIELD, _STORAGE)
    seen_by_instances: tuple[str, ...] = ("mounts", "mount_uid", "mount_gid", "tmp_mib")

    def __init__(self, disks: Disks) -> None:
        self._disks = disks

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        values: dict[str, object] = {}
        storage = body.get(_STORAGE)
        if storage is not None and (type(storage) is not int or storage != 0):
            if type(storage) is not int or storage not in _STORAGE_MIB:
                raise BadParameter(f"{_STORAGE}: must be 512 or 10240 (MB), not {rules.shown(storage)}")
            values["tmp_mib"] = storage
        config = body.get(_FIELD)
        if config is None:
            return values
        if not isinstance(config, dict):
            raise BadParameter(f"{_FIELD}: must be an object, not {rules.shown(config)}")
        values.update(_user(config.get("mount_user")))
        mounts = config.get("func_mounts")
        if mounts is not None:
            if not isinstance(mounts, list):
                raise BadParameter(f"{_FIELD}.func_mounts: must be a list, not {rules.shown(mounts)}")
            if len(mounts) > MOUNTS_MAX:
                raise TooManyMounts(f"{_FIELD}.func_mounts: must have at most {MOUNTS_MAX} mounts, not {len(mounts)}")
            values["mounts"] = tuple(_mount(f"{_FIELD}.func_mounts[{n}]", one) for n, one in enumerate(mounts))
        return values

    def check(self, function: Function) -> None:
        self._disks.plans(function)

    def show(self, function: Function) -> Mapping[str, object]:
        config = None
        ids: list[int] | list[str] = [function.mount_uid, function.mount_gid]
        if function.mounts or ids != [-1, -1]:
            if function.mount_ids_text:
                ids = [str(one) for one in ids]
            config = {
                "mount_user": {"user_id": ids[0], "user_group_id": ids[1]},
                "func_mounts": [
                    {
                        "mount_type": mount.kind,
                        "mount_resource": mount.resource,
                        "mount_share_path": mount.share_path or None,
                        "local_mount_path": mount.path,
                        # fgd's own
                        "read_only": mount.read_only,
                        "status": status,
                    }
                    for mount, status in zip(function.mounts, self._disks.statuses(function), strict=True)
                ],
            }
        return {_FIELD: config, _STORAGE: function.tmp_mib}


def _user(user: object) -> dict[str, object]:
    """`mount_user`, with the names of fields that either client uses.

    The ids are numbers for the official SDK and texts in the reference of Open Telekom Cloud, whose Go client takes
    nothing else: they are shown as they were sent.
    """
    if user is None:
        return {}
    if not isinstance(user, dict):
        raise BadMountUser(f"{_FIELD}.mount_user: must be an object, not {rules.shown(user)}")
    values: dict[str, object] = {}
    for field, names in _USER_NAMES.items():
        given = {name: user[name] for name in names if user.get(name) is not None}
        if len(set(map(repr, given.values()))) > 1:
            raise BadMountUser(f"{_FIELD}.mount_user: {' and '.join(given)} are the same and must not differ")
        for name, value in given.items():
            values[field] = _id(f"{_FIELD}.mount_user.{name}", value)
            values["mount_ids_text"] = isinstance(value, str) or values.get("mount_ids_text", False)
    return values


def _id(where: str, value: object) -> int:
    number = int(value) if isinstance(value, str) and _ID_TEXT.fullmatch(value) else value
    if type(number) is not int or not -1 <= number <= _ID_MAX or number in _TAKEN_IDS:
        raise BadMountUser(
            f"{where}: must be a number from -1 to {_ID_MAX}, but not 0, 1000 or 1002; not {rules.shown(value)}"
        )
    return number


def _mount(where: str, one: object) -> FunctionMount:
    if not isinstance(one, dict):
        raise BadParameter(f"{where}: must be an object, not {rules.shown(one)}")
    path = _text(where, one, "local_mount_path")
    if not path:
        raise BadMountPath(f"{where}.local_mount_path: must be the path at which the function sees the disk")
    kind, resource = (_text(where, one, name) for name in ("mount_type", "mount_resource"))
    if not kind:
        raise BadParameter(f"{where}.mount_type: must say what kind of disk it is")
    read_only = one.get("read_only") or False
    if not isinstance(read_only, bool):
        raise BadParameter(f"{where}.read_only: must be true or false, not {rules.shown(read_only)}")
    share = _text(where, one, "mount_share_path")
    return FunctionMount(kind=kind, resource=resource, share_path=share, path=path, read_only=read_only)


def _text(where: str, one: Mapping[str, object], name: str) -> str:
    """A field's text, "" when it is null or left out."""
    value = one.get(name)
    text = rules.text_of(f"{where}.{name}", "" if value is None else value)
    if len(text) > _TEXT_MAX_CHARS:
        raise BadParameter(f"{where}.{name}: must be at most {_TEXT_MAX_CHARS} characters, not {len(text)}")
    return text
