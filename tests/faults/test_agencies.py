"""What an agency handed out outlives a killed daemon; what was deleted does not come back."""

import json

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess

TOKEN = "def handler(event, context):\n    return context.getToken()\n"


def test_credentials_outlive_kill_9_and_deleted_ones_stay_deleted(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    daemon.cli("agencies", "create", "reader", "--policy", "FunctionGraph ReadOnlyAccess")
    daemon.cli("agencies", "create", "leaver", "--policy", "FunctionGraph ReadOnlyAccess")
    reader = api.deploy("reads", TOKEN, xrole="reader")
    leaver = api.deploy("leaves", TOKEN, xrole="leaver")
    token, gone = api.invoke(reader).text, api.invoke(leaver).text
    assert [200, 200] == [_lists(daemon, keys, one) for one in (token, gone)]

    api.configure(leaver, xrole="")
    daemon.cli("agencies", "delete", "leaver")
    daemon.cli("agencies", "update", "reader", "--policy", "FunctionGraph Invoker")
    daemon.kill9()
    api.close()
    assert [] == daemon.wait_gone()
    daemon.start()
    api = daemon.client(keys)
    later = api.invoke(reader).text

    assert [200, 401, 200] == [_lists(daemon, keys, one) for one in (token, gone, later)]
    assert later != token
    agencies = json.loads(daemon.cli("agencies", "list", "--json").stdout)["agencies"]
    assert [("reader", ["FunctionGraph Invoker"])] == [(one["name"], one["policies"]) for one in agencies]
    api.close()


def _lists(daemon: DaemonProcess, keys: Keys, token: str) -> int:
    client: Client = daemon.client(Keys("", "", keys.project_id, token))
    try:
        return client.functions("GET").status
    finally:
        client.close()
