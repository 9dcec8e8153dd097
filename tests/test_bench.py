"""The programs of bench/ count and judge right."""

import contextlib
import random
import shutil
import socket
import threading

import pytest

from bench import reserved
from bench.host import percentile
from bench.load import Target, run_load
from bench.run import main
from bench.table import FIGURES, Figure, table


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 3.0), (99, 5.0), (100, 5.0)])
def test_percentile_is_a_value_of_the_list(percent: float, expected: float) -> None:
    assert percentile([5.0, 1.0, 3.0, 2.0, 4.0], percent) == expected


def test_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 50) == 0.0


@pytest.mark.parametrize(("value", "verdict"), [(1.9, "aim"), (2.0, "aim"), (5.0, "ok"), (5.1, "SHORT")])
def test_less_is_better(value: float, verdict: str) -> None:
    assert Figure("x", ("x",), must=5, aim=2).verdict(value) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(300, "aim"), (100, "ok"), (99, "SHORT")])
def test_more_is_better(value: float, verdict: str) -> None:
    assert Figure("x", ("x",), must=100, aim=250, more=True).verdict(value) == verdict


def test_table_has_a_row_for_every_figure_and_says_what_is_missing() -> None:
    lines = table({"warm": {"requests_ratio": 6.0, "cpu_ratio": 0.3}}).splitlines()

    assert lines[1].split()[-1] == "ok"
    assert lines[2].split()[-1] == "SHORT"
    assert [line.split()[-1] for line in lines[3 : len(FIGURES) + 1]] == ["missing"] * (len(FIGURES) - 2)


def test_unknown_program_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])

    assert "nonsense" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("wrk", [True, False])
def test_load_counts_answers_and_errors(monkeypatch: pytest.MonkeyPatch, wrk: bool) -> None:
    if wrk and shutil.which("wrk") is None:
        return  # then the own client is what benches use, and the other case covers it
    if not wrk:
        monkeypatch.setattr("bench.load.shutil.which", lambda _: None)
    answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                if b"\r\n\r\n" in data:
                    connection.sendall(answer)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    load = run_load(Target(listener.getsockname()[1], "/x", b"{}"), 2, 1, lambda: 0.0)
    listener.close()

    assert load.client == ("wrk" if wrk else "own")
    assert load.requests > 10
    assert load.errors == load.requests
    assert 0 < load.p50_us <= load.p99_us


def test_recommendation_needs_fewer_cold_starts_than_what_costs_as_much() -> None:
    """The back-test of reservations, on one day of it."""
    day = reserved.rates(random.Random(7), surprise=True)
    past = reserved.history(random.Random(8))
    balance = reserved.replay(random.Random(9), day, reserved.recommended(past, "balance"), past.add)
    fixed = reserved.replay(random.Random(9), day, reserved.fixed(4), lambda *_: None)

    assert balance.requests == fixed.requests > 100_000
    assert balance.instance_hours < fixed.instance_hours
    assert balance.cold * 2 < fixed.cold


def test_backtest_counts_the_hours_of_what_is_kept_and_nothing_else() -> None:
    quiet = [1e-9] * reserved.DAY
    found = reserved.replay(random.Random(1), quiet, reserved.fixed(3), lambda *_: None)

    assert (0, 0) == (found.requests, found.cold)
    assert 3 * 24 == pytest.approx(found.instance_hours, rel=0.01)
