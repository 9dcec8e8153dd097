"""What an instance of a function version is made with: the binding of its sandbox, and the INIT frame's body."""

from dataclasses import replace

import msgspec

from fgd.control.disks import Disks
from fgd.control.environment import instance_environment
from fgd.control.functions import Functions
from fgd.control.handout import Handout
from fgd.control.networks import DOOR_URL, Networks
from fgd.model import Function
from fgd.sandbox.api import Binding, Limits

#: Files and folders that /tmp of the usual size may have; a larger one may have more in proportion.
_TMP_MIB, _TMP_INODES = Limits().tmp_mib, Limits().tmp_inodes


def limits_of(function: Function) -> Limits:
    """What one instance may use."""
    limits = Limits.for_memory(function.memory_mib)
    if function.tmp_mib == _TMP_MIB:
        return limits
    return replace(limits, tmp_mib=function.tmp_mib, tmp_inodes=_TMP_INODES * function.tmp_mib // _TMP_MIB)


class Furnisher:
    """Asked for every start of an instance."""

    def __init__(self, functions: Functions, handout: Handout, disks: Disks, networks: Networks) -> None:
        self._functions = functions
        self._disks = disks
        self._handout = handout
        self._networks = networks

    def binding(self, function: Function) -> Binding:
        """What its sandbox gets: code, limits, and what is mounted."""
        code, *dependencies = function.packages
        return Binding(
            code=code,
            limits=limits_of(function),
            dependencies=tuple(dependencies),
            mounts=self._disks.plans(function) if function.mounts else (),
            owner=self._disks.owner(function),
            door=self._networks.has_door(function),
        )

    def stop_extras(self, function: Function) -> bytes:
        """What the context of its pre-stop handler gets: the credentials of now."""
        credentials = self._handout.credentials(function)
        return msgspec.json.encode(credentials) if credentials else b""

    def init_document(self, function: Function, instance_id: str, load_request_id: str, init_request_id: str) -> bytes:
        """Body of the INIT frame, as `runtimes/python/README.md` describes it."""
        user_data = self._functions.user_data(function)
        return msgspec.json.encode(
            {
                "handler": function.handler,
                "initializer": function.initializer_handler,
                "heartbeat": function.heartbeat_handler,
                "pre_stop": function.pre_stop_handler,
                "initializer_timeout_s": function.initializer_timeout_s,
                "timeout_s": function.timeout_s,
                "concurrency": function.concurrent_num,
                "instance_id": instance_id,
                "load_request_id": load_request_id,
                "init_request_id": init_request_id,
                "env": instance_environment(function, user_data, DOOR_URL if self._networks.has_door(function) else ""),
                "user_data": user_data,
                "extras": self._handout.credentials(function),
                "context": {
                    "function_name": function.name,
                    "version": function.version,
                    "package": function.package,
                    "project_id": function.project_id,
                    "memory_mib": function.memory_mib,
                    "cpu_mcpu": function.cpu_mcpu,
                },
            }
        )
