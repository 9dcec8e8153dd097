"""X-Cff-Instance-Memory, from the request to the cgroup and back."""

from collections.abc import Callable

from fgd.testing.client import Client
from tests.e2e.asynchronous import finished

SOURCE = """\
import os, time, uuid
ME = str(uuid.uuid4())
KEPT = []
def handler(event, context):
    if "keep_mib" in event:
        KEPT.append(b"x" * (event["keep_mib"] << 20))
    time.sleep(event.get("s", 0))
    return {
        "me": ME, "memory": context.getMemorySize(), "cpu": context.getCPUNumber(),
        "env": [os.environ["RUNTIME_MEMORY"], os.environ["RUNTIME_CPU"]],
    }
"""


def size_of(api: Client, urn: str, memory: str | None, event: object = None) -> dict[str, object]:
    answer = api.invoke(urn, event or {}, **({} if memory is None else {"X_Cff_Instance_Memory": memory}))
    assert answer.status == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_request_chooses_its_memory_and_an_idle_instance_is_resized_for_it(
    api: Client, deploy: Callable[..., str]
) -> None:
    urn = deploy(SOURCE, enable_dynamic_memory=True)
    own = size_of(api, urn, None)
    large = size_of(api, urn, "1024")
    back = size_of(api, urn, "128")

    assert {"me": own["me"], "memory": 128, "cpu": 300, "env": ["128", "300"]} == own
    assert {"me": own["me"], "memory": 1024, "cpu": 1000, "env": ["1024", "1000"]} == large
    assert own == back


def test_instance_that_uses_more_than_the_smaller_size_stays_and_a_new_one_comes(
    api: Client, deploy: Callable[..., str]
) -> None:
    urn = deploy(SOURCE, enable_dynamic_memory=True)
    large = size_of(api, urn, "512", {"keep_mib": 200})
    small = size_of(api, urn, "128")
    again = size_of(api, urn, "512")

    assert large["me"] != small["me"]
    assert (128, 512) == (small["memory"], again["memory"])
    assert large["me"] == again["me"]


def test_resized_instance_may_use_what_it_got_and_no_more(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(SOURCE, enable_dynamic_memory=True)
    small = size_of(api, urn, None)
    large = size_of(api, urn, "512", {"keep_mib": 300})
    too_much = api.invoke(urn, {"keep_mib": 300}, X_Cff_Instance_Memory="512")

    assert small["me"] == large["me"]
    assert "4205" == too_much.headers["x-func-err-code"]


def test_wrong_size_is_refused_and_without_dynamic_memory_ignored(api: Client, deploy: Callable[..., str]) -> None:
    on, off = deploy(SOURCE, enable_dynamic_memory=True), deploy(SOURCE)
    for kind in ("invocations", "invocations-async"):
        for wrong in ("129", "0", "-128", "512MB", "", "128, 256", "1e3"):
            answer = api.functions("POST", f"/{on}/{kind}", {}, X_Cff_Instance_Memory=wrong)

            assert (406, "FSS.0406") == (answer.status, answer.error_code)
            assert "X-Cff-Instance-Memory" in answer.json()["error_msg"]

    assert 128 == size_of(api, off, "512")["memory"]
    assert 128 == size_of(api, off, "7")["memory"]


def test_stored_event_keeps_its_wish(api: Client, deploy: Callable[..., str]) -> None:
    source = SOURCE.replace(
        "    return", "    if context.getInvokeType() == 'async': print(context.getMemorySize())\n    return"
    )
    urn = deploy(source, enable_dynamic_memory=True)
    answer = api.functions("POST", f"/{urn}/invocations-async", {}, X_Cff_Instance_Memory="768")
    request_id = answer.json()["request_id"]

    assert "SUCCESS" == finished(api, urn, request_id)["status"]
    lines = api.request("GET", f"/fgd/v1/functions/{urn}/logs?request_id={request_id}").json()["lines"]
    assert "768" in lines
    assert any("billing memory: 768MB" in line for line in lines)
