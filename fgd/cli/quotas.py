"""`fgd quotas`: limits of the project."""

import argparse

from fgd.cli.client import Client
from fgd.cli.report import print_json, print_table

_WORDS = {
    "fgs_func_num": "functions",
    "fgs_func_code_size": "code packages",
    "fgs_func_qos_limit": "instances",
    "fgs_func_occurs": "reserved instances",
    "fgs_on_demand_instance_limit": "instances of one function",
    "fgs_func_scale_down_timeout": "seconds that an idle instance is kept",
    "fgs_func_pat_idle_time": "seconds that an idle address translation is kept",
    "fgs_workflow_num": "function flows",
}


def quotas(args: argparse.Namespace) -> None:
    """One line per quota."""
    client = Client(args.admin_socket)
    found = client.call("GET", f"/v2/{client.project_id}/fgs/quotas")
    if args.json:
        print_json(found)
        return
    rows = [
        (
            one["type"],
            one["used"],
            one["quota"],
            one["unit"],
            _WORDS.get(one["type"], ""),
            one.get("setting"),
        )
        for one in found["quotas"]["resources"]
    ]
    print_table(("TYPE", "USED", "TOTAL", "UNIT", "OF", "SETTING"), rows)
