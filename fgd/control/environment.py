"""The environment of an instance: the platform's variables and the function's own (runtimes.md, 1.3)."""

from collections.abc import Mapping

import msgspec

from fgd.model import Function
from fgd.units import SYNC_PAYLOAD_MAX_BYTES


def instance_environment(function: Function, user_data: Mapping[str, str], api_endpoint: str = "") -> dict[str, str]:
    """Every variable that an instance of this function version has.

    Args:
        function: the version.
        user_data: plain and decrypted variables together; `RUNTIME_USERDATA` carries them as a JSON object, and
            each is a variable of the process as well. No name of theirs is one of the platform's.
        api_endpoint: where the instance reaches fgd's own API; "" where it does not.
    """
    endpoint = {"FGD_API_ENDPOINT": api_endpoint} if api_endpoint else {}
    return {
        **user_data,
        "RUNTIME_PROJECT_ID": function.project_id,
        "RUNTIME_FUNC_NAME": function.name,
        "RUNTIME_FUNC_VERSION": function.version,
        "RUNTIME_PACKAGE": function.package,
        "RUNTIME_HANDLER": function.handler,
        "RUNTIME_TIMEOUT": str(function.timeout_s),
        "RUNTIME_USERDATA": msgspec.json.encode(user_data).decode(),
        "RUNTIME_CPU": str(function.cpu_mcpu),
        "RUNTIME_MEMORY": str(function.memory_mib),
        "RUNTIME_MAX_RESP_BODY_SIZE": str(SYNC_PAYLOAD_MAX_BYTES),
        "RUNTIME_INITIALIZER_HANDLER": function.initializer_handler,
        "RUNTIME_INITIALIZER_TIMEOUT": str(function.initializer_timeout_s),
        "RUNTIME_ROOT": "/home/snuser/runtime",
        "RUNTIME_CODE_ROOT": "/opt/function/code",
        "RUNTIME_LOG_DIR": "/home/snuser/log",
        **endpoint,
    }
