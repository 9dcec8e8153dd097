"""What a function says on the channel by itself ends its own instance at most, and nobody else notices."""

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from fgd.wire import frames
from tests.security.hostile import ECHO, SPEAKS, SPEAKS_EARLY

RESULT = frames.RESULT_HEAD.pack(0, 0, 0) + b'"forged"'


def log_frame(text: bytes) -> bytes:
    return frames.frame(frames.LOG, 0, frames.LOG_HEAD.pack(20, time.time()) + text)


#: What no runtime sends.
BROKEN = {
    "junk": bytes(range(256)) * 100,
    "huge length": frames.HEADER.pack(0xFFFFFFFF, frames.RESULT, 0, 0, 1),
    "long log": frames.HEADER.pack(100 * 1024, frames.LOG, 0, 0, 0),
    "unknown type": frames.frame(200, 0),
    "type 0": frames.frame(0, 0),
    "frame of the daemon": frames.frame(frames.INVOKE, 1, bytes(100)),
    "second READY": frames.frame(frames.READY, 0, b"{}"),
    "heartbeats": frames.frame(frames.HEARTBEAT, 0, b"\x01") * 1000,
    "forged answer": frames.frame(frames.RESULT, 1, RESULT),
    "answer to call 0": frames.frame(frames.ERROR, 0, frames.RESULT_HEAD.pack(4001, 0, 0)),
    "headless answer": frames.frame(frames.RESULT, 5, b"x"),
    "headless log": frames.frame(frames.LOG, 0, b"x"),
}


@pytest.fixture(scope="module")
def functions(daemon: DaemonProcess, victim_keys: Keys, attacker_keys: Keys) -> Iterator[tuple[str, str]]:
    """A hostile function of one project, an honest one of another."""
    attacker, victim = daemon.client(attacker_keys), daemon.client(victim_keys)
    yield attacker.deploy("speaks", SPEAKS, timeout=10), victim.deploy("honest", ECHO)
    attacker.close()
    victim.close()


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_ends_that_instance_alone(
    attacker: Client, victim: Client, functions: tuple[str, str], what: str
) -> None:
    hostile, honest = functions

    answer = attacker.invoke(hostile, {"do": "send", "data": BROKEN[what].hex()})

    assert (answer.status, answer.error_code) == (500, "FSS.4014"), answer.text
    assert victim.invoke(honest, {"a": 1}).json() == {"a": 1}
    assert attacker.invoke(hostile, {"do": "nothing"}).text == '"done"' or "done"


def test_answers_to_guessed_calls_end_the_instance(attacker: Client, functions: tuple[str, str]) -> None:
    assert attacker.invoke(functions[0], {"do": "answers"}).error_code == "FSS.4014"


def test_a_closed_channel_ends_the_instance(attacker: Client, functions: tuple[str, str]) -> None:
    answer = attacker.invoke(functions[0], {"do": "close"})

    assert "closed its channel" in answer.text
    assert attacker.invoke(functions[0], {"do": "nothing"}).status == 200


def test_descriptors_are_not_accepted(daemon: DaemonProcess, attacker: Client, functions: tuple[str, str]) -> None:
    attacker.invoke(functions[0], {"do": "nothing"})
    before = psutil.Process(daemon.pid).num_fds()

    assert attacker.invoke(functions[0], {"do": "descriptors", "data": log_frame(b"fd").hex()}).status == 200

    # 2,000 were sent; a blank more or less may be on the shelf.
    assert psutil.Process(daemon.pid).num_fds() < before + 50


@pytest.mark.parametrize(
    "event",
    [
        {"do": "flood", "data": (log_frame(b"x") * 4000).hex(), "seconds": 3},
        {"do": "flood", "data": log_frame(b"\n" * 90000).hex(), "seconds": 3},
        {"do": "print", "seconds": 3},
    ],
    ids=["small frames", "empty lines", "raw output"],
)
def test_a_flood_of_log_does_not_keep_others_from_their_answers(
    daemon: DaemonProcess, attacker: Client, victim: Client, functions: tuple[str, str], event: dict[str, object]
) -> None:
    hostile, honest = functions
    process = psutil.Process(daemon.pid)
    victim.invoke(honest, {})
    memory = process.memory_info().rss
    flood = threading.Thread(target=attacker.invoke, args=(hostile, event))
    flood.start()
    answered = 0
    while flood.is_alive():
        assert victim.invoke(honest, {"n": answered}).json() == {"n": answered}
        answered += 1
    flood.join()

    assert answered > 20
    assert process.memory_info().rss - memory < 96 << 20


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame(frames.READY, 0, b'{"load_us": 1180591620717411303424}'), "4014"),
        (frames.frame(frames.READY, 0, b'{"init_us": -5}'), "4014"),
        (frames.frame(frames.READY, 0, b"[" * 4000), "4014"),
        (frames.frame(frames.ERROR, 0, frames.RESULT_HEAD.pack(777777, 0, 0)), "4201"),
        (frames.frame(frames.RESULT, 0, RESULT), "4014"),
    ],
    ids=["huge figure", "negative figure", "deep JSON", "unknown code", "answer"],
)
def test_what_is_said_while_loading_is_not_believed(
    daemon: DaemonProcess, attacker: Client, victim: Client, functions: tuple[str, str], data: bytes, code: str
) -> None:
    name = f"early-{abs(hash(data))}"
    urn = attacker.deploy(name, SPEAKS_EARLY % data.hex())

    answer = attacker.invoke(urn, {}, X_Fgd_Timing="1")

    assert answer.headers["x-func-err-code"] == code
    assert victim.invoke(functions[1], {"b": 2}).json() == {"b": 2}
    # The log book still takes records: one strange figure must not stop it.
    request_id = answer.headers["x-cff-request-id"]
    path = f"/fgd/v1/functions/{urn}/invocations?request_id={request_id}"
    assert eventually(lambda: len(attacker.request("GET", path).json()["invocations"]) == 1)


def test_codes_of_its_own_make_no_series(daemon: DaemonProcess, attacker: Client, functions: tuple[str, str]) -> None:
    source = SPEAKS + (
        "\nimport _fgd_runtime.failures as failures\ndef strange(event, context):\n    raise ValueError(1)\n"
    )
    urn = attacker.deploy("codes", source, handler="index.strange")
    for _ in range(3):
        attacker.invoke(urn)

    found = [line for line in daemon.admin("GET", "/metrics").text.splitlines() if 'code="' in line]
    codes = {line.split('code="')[1].split('"')[0] for line in found}
    assert codes <= {"4001", "4002", "4010", "4014", "4201", "4206"}


def test_a_text_of_a_client_or_function_writes_no_line_of_its_own_into_the_daemons_log(
    daemon: DaemonProcess, attacker: Client
) -> None:
    attacker.request("GET", "/nothing%0A2026-01-01%20CRITICAL%20fgd:%20forged")
    source = "raise RuntimeError('x\\n2026-01-01 CRITICAL fgd: forged')\n"
    attacker.invoke(attacker.deploy("forger", source))

    time.sleep(0.3)
    assert not any(line.startswith("2026-01-01") for line in daemon.log_file.read_text("utf-8").splitlines())
