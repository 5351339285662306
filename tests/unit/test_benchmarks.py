"""The benchmarks' own arithmetic and checks: a wrong figure would be believed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import asleep, gates, room, wrk
from benchmarks.__main__ import main
from benchmarks.asleep import Asleep
from benchmarks.asleep import table as asleep_table
from benchmarks.cases import GREETING, JSON, STOCK, TYPED, WORK, Case
from benchmarks.chart import Bar, bars
from benchmarks.comparison import CROWD, stock_cells, work_cells
from benchmarks.generator import Broken, Sample, Slice, parse_head
from benchmarks.peers import ASLEEP_BASE, BASE, PEERS, STOCK_BASE, STOCK_PEERS, Peer
from benchmarks.processes import cpu_time, family, resident
from benchmarks.report import rows, table
from benchmarks.resp import Ratio
from benchmarks.resp import table as redis_table
from benchmarks.results import write
from benchmarks.room import Room
from benchmarks.room import table as room_table
from benchmarks.servers import COMMANDS, Server

HELLO = WORK[0]
SVG = "{http://www.w3.org/2000/svg}"


def sample(rate: float, cpu: float | None = 1.0) -> Sample:
    """A second of load at a rate, for which the server took `cpu` seconds."""
    return Sample(round(rate), 1.0, cpu)


# Ratios -----------------------------------------------------------------------------------------------------------


def test_a_ratio_is_taken_within_its_round() -> None:
    """When a machine slows down tenfold for a round, both halves of that round's ratio do, and the ratio stands."""
    base = [Sample(1000, 1.0, 0.5), Sample(100, 1.0, 0.5), Sample(100, 1.0, 0.5)]
    peer = [Sample(800, 1.0, 0.5), Sample(80, 1.0, 0.5), Sample(90, 1.0, 0.5)]
    row = rows({"bare": base, "trivet": peer}, "bare")[1]
    assert (row.ratio, row.low, row.high, row.rate) == (0.8, 0.8, 0.9, 90.0)


def test_the_cpu_time_is_per_request_and_over_the_base() -> None:
    """Half a second for a thousand requests is 500 us each; a ratio below one says that the peer needs more."""
    row = rows({"bare": [Sample(1000, 1.0, 0.4)], "trivet": [Sample(1000, 1.0, 0.5)]}, "bare")[1]
    assert (row.cpu, row.cpu_over, row.cpu_ratio) == pytest.approx((500.0, 100.0, 0.8))


def test_a_system_that_does_not_tell_cpu_time_leaves_it_out() -> None:
    """The rates stand without it."""
    row = rows({"bare": [Sample(10, 1.0, None)], "trivet": [Sample(5, 1.0, None)]}, "bare")[1]
    assert (row.ratio, row.cpu, row.cpu_over, row.cpu_ratio) == (0.5, None, None, None)


def test_without_its_base_a_table_is_empty() -> None:
    """A base that broke leaves nothing to divide by; the tables of the other cells stand."""
    assert rows({"trivet": [sample(10)]}, "bare") == []
    assert len(list(table("typed", [], "bare"))) == 4


def test_the_columns_of_a_table_stand_below_one_another() -> None:
    """The tables are read in a terminal first: each line has its bars where the heading has them."""
    figures = rows({"bare": [sample(40_000)], "a-rather-long-name@server": [sample(3)]}, "bare")
    lines = list(table("typed", figures, "bare"))[2:]
    assert len({tuple(at for at, char in enumerate(line) if char == "|") for line in lines}) == 1


# Answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 \r\ncontent-length: 13", (13, False)),
        (b"HTTP/1.1 200 OK\r\nContent-Length:2\r\nConnection: close", (2, True)),
        (b"HTTP/1.1 200 \r\nx-content-length: 9\r\ncontent-length: 13\r\ndate: now", (13, False)),
    ],
)
def test_the_length_and_the_end_of_a_connection_are_read(head: bytes, expected: tuple[int, bool]) -> None:
    """Names are compared without regard to case, and as whole names."""
    assert parse_head(head) == expected


@pytest.mark.parametrize("head", [b"HTTP/1.1 500 \r\ncontent-length: 0", b"HTTP/1.1 200 \r\nserver: h"])
def test_an_answer_that_would_not_count_ends_the_run(head: bytes) -> None:
    """An error that is fast must not win."""
    with pytest.raises(Broken):
        parse_head(head)


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (404, "text/plain", GREETING.encode()),
        (200, "text/html", GREETING.encode()),
        (200, "text/plain", b"Hello!"),
    ],
)
def test_a_peer_that_answers_otherwise_is_not_measured(status: int, media_type: str, body: bytes) -> None:
    """Status, type and body are those of everybody else, or the comparison says nothing."""
    headers = {"content-type": media_type, "content-length": str(len(body))}
    assert HELLO.check("/hello", status, headers, body) is not None


def test_a_right_answer_passes_however_its_json_is_spaced() -> None:
    """JSON is compared as a value."""
    body = b'{ "item_id": 123 }\n'
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    assert TYPED.check("/items/123", 200, headers, body) is None


@pytest.mark.parametrize("case", {case.name: case for case in (*WORK, *STOCK)}.values(), ids=lambda case: case.name)
def test_a_request_announces_the_body_that_it_has(case: Case) -> None:
    """What is sent is one whole request: a wrong length would leave the next one in pieces."""
    for request in case.requests():
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST " if body else b"GET ")
        assert (f"Content-Length: {len(body)}".encode() in head) is bool(body)


def test_the_json_is_a_kilobyte() -> None:
    """The case is named for it."""
    assert 900 < len(str(JSON.expected("/profile"))) < 1300


# What is run ------------------------------------------------------------------------------------------------------


def test_every_peer_has_a_server_and_a_name_of_its_own() -> None:
    """Figures are kept by name: two of one name would be one."""
    for peers, base in ((PEERS, BASE), (STOCK_PEERS, STOCK_BASE)):
        names = [peer.name for peer in peers]
        assert len(set(names)) == len(names)
        assert base in names
        assert {peer.server for peer in peers} <= set(COMMANDS)


def test_everything_is_measured_with_few_and_many_connections_but_uploads() -> None:
    """`--full` leaves out nothing but a thousand uploads at a time, for their memory."""
    cells = {cell.name for cell in work_cells(full=True, rounds=None)}
    assert cells == {f"{case.name}@{count}" for case in WORK for count in (1, 32, 1000)} - {"upload@1000"}
    assert CROWD == 1000


def test_the_cell_of_the_gates_is_always_measured_and_most_often() -> None:
    """What is judged deserves the most rounds, unless one asks for as many of each."""
    for full in (False, True):
        rounds = {cell.name: cell.rounds for cell in work_cells(full=full, rounds=None)}
        assert rounds[gates.CELL] == max(rounds.values()) > min(rounds.values())
    assert {cell.rounds for cell in [*work_cells(full=True, rounds=4), *stock_cells(full=False, rounds=4)]} == {4}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Running 60s test\nRESULT 1000 500000 0 0 0 0 0\n", (1000, 0.5)),
        ("RESULT 100000 2000000 0 40 0 0 30", (100000, 2.0)),  # connections that the server had idle and closed
    ],
)
def test_what_wrk_counted_is_read(said: str, expected: tuple[int, float]) -> None:
    """Requests and seconds, from the line that our script prints."""
    assert wrk.read(said) == expected


@pytest.mark.parametrize(
    "said",
    [
        "unable to connect to 127.0.0.1:1 Connection refused",
        "RESULT 0 500000 0 0 0 0 0",
        "RESULT 1000 500000 0 0 0 1 0",
        "RESULT 1000 500000 0 0 0 0 900",
        "RESULT 1000 500000 3 0 0 0 0",
    ],
)
def test_what_wrk_counted_in_errors_is_no_figure(said: str) -> None:
    """No answer, an error status, or connections that failed: nothing that may win."""
    with pytest.raises(Broken):
        wrk.read(said)


@pytest.mark.parametrize("answers", [1000, 0])
def test_an_order_that_was_over_before_the_first_answer_is_put_once_more(tmp_path: Path, answers: int) -> None:
    """And if there is none either, that is no figure."""
    program = tmp_path / "wrk"
    program.write_text(
        f"""#!/bin/sh
        echo >>{tmp_path}/calls
        [ $(wc -l <{tmp_path}/calls) = 1 ] && echo RESULT 0 500000 0 0 0 0 0 || echo RESULT {answers} 500000 0 0 0 0 0
        """
    )
    program.chmod(0o755)
    order = Slice(("127.0.0.1", 1), (), [], connections=1, warmup=1, seconds=1)
    if answers:
        assert wrk.drive(str(program), order, None).answers == answers
    else:
        with pytest.raises(Broken, match=r"no answer for 0\.5 seconds"):
            wrk.drive(str(program), order, None)
    assert (tmp_path / "calls").read_text() == "\n\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_children_of_a_server_count_with_it() -> None:
    """granian answers in a child: its time and memory are the server's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        pids = family(os.getpid())
        assert pids[0] == os.getpid()
        assert child.pid in pids
        alone, both = resident(pids[:1]), resident((pids[0], child.pid))
        assert alone is not None
        assert both is not None
        assert both > alone > 0
        assert (cpu_time(pids[:1]) or 0) > 0


# Gates ------------------------------------------------------------------------------------------------------------


def typed(**rates: float) -> dict[str, list[Sample]]:
    """Samples of one round by peer; `_at_` stands for the @ of its name."""
    return {name.replace("_at_", "@"): [sample(rate)] for name, rate in rates.items()}


def test_a_gate_holds_at_its_bound_and_not_below() -> None:
    """At least is at least."""
    found = gates.of_work(typed(trivet=120, starlette_at_uvicorn=100, fastapi_at_uvicorn=50), by_rate=True)
    verdicts = {gate.bound: gate.verdict for gate in found if gate.ratio is not None}
    assert verdicts == {1.0: "pass", 1.2: "pass", 2.5: "FAIL"}
    assert [gate.verdict for gate in found if gate.ratio is None] == ["not measured"] * 3


def test_bodies_and_dependencies_are_judged_each_in_its_own_cell() -> None:
    """1.5 of FastAPI's requests per second and 1.2 of Litestar's, in both; a case that is left out says nothing."""
    cell = typed(trivet=150, fastapi_at_uvicorn=100, litestar_at_uvicorn=126)
    found = gates.of_binding({"order@32": cell, gates.CELL: cell}, by_rate=True)
    assert [(gate.bound, gate.verdict) for gate in found] == [
        (1.5, "pass"),
        (1.2, "FAIL"),
        (1.5, "not measured"),
        (1.2, "not measured"),
    ]


def test_every_cell_of_a_gate_is_one_that_is_measured() -> None:
    """A gate of a cell that nobody measures would never fail; who is judged takes part in its case."""
    cases = {cell.name: cell.case for cell in work_cells(full=False, rounds=None)}
    peers = {peer.name: peer for peer in PEERS}
    for _, cell, base, _ in gates.BINDING:
        assert peers["trivet"].takes(cases[cell])
        assert peers[base].takes(cases[cell])
        assert peers[BASE].takes(cases[cell])


@pytest.mark.parametrize(
    ("peer", "taken"),
    [
        (Peer("all", "trivet", "m:app"), ["hello", "typed"]),
        (Peer("binds", "trivet", "m:app", more=("order",)), ["hello", "typed", "order"]),
        (Peer("limit", "limit", "m", "limit", ("typed",)), ["typed"]),
    ],
)
def test_who_is_asked_what(peer: Peer, taken: list[str]) -> None:
    """What is not common is asked of those only that say so; who says what it can be asked is asked nothing else."""
    assert [case.name for case in WORK if peer.takes(case) and case.name in ("hello", "typed", "order")] == taken


def test_the_fastest_is_a_framework_and_not_ours() -> None:
    """Bare applications and limits are no frameworks; ours cannot be what ours is compared with, on whatever server."""
    samples = typed(
        limit=900, bare_at_uvicorn=500, trivet=400, starlette_at_trivet=300, falcon_at_uvicorn=200, sanic=150
    )
    assert gates.fastest(samples, by_rate=True) == "falcon@uvicorn"
    assert gates.fastest({}, by_rate=True) is None


def test_where_the_load_is_too_slow_cpu_time_decides() -> None:
    """Our own generator makes all servers alike in their rates; the CPU time for a request still tells them apart."""
    samples = {"trivet": [Sample(100, 1.0, 0.1)], "starlette@uvicorn": [Sample(100, 1.0, 0.2)]}
    by_rate = next(gate for gate in gates.of_work(samples, by_rate=True) if gate.bound == 1.2)
    by_cpu = next(gate for gate in gates.of_work(samples, by_rate=False) if gate.bound == 1.2)
    assert (by_rate.ratio, by_rate.other, by_rate.verdict) == (1.0, 2.0, "FAIL")
    assert (by_cpu.ratio, by_cpu.other, by_cpu.verdict) == (2.0, 1.0, "pass")


@pytest.mark.parametrize(
    ("memory", "slow", "verdicts"),
    [(12_000, 0.002, ["pass", "pass"]), (12_100, 0.0021, ["FAIL", "FAIL"]), (None, 0.001, ["not measured", "pass"])],
)
def test_sleepers_are_judged_by_their_memory_and_the_latency_beside_them(
    memory: float | None, slow: float, verdicts: list[str]
) -> None:
    """Three quarters of Starlette's memory on uvicorn, and twice the idle p99, at most."""
    own = Asleep("trivet", 10_000, memory, ((0.0005, 0.001),), ((0.0006, slow),))
    base = Asleep(ASLEEP_BASE, 10_000, 16_000, ((0.0005, 0.001),), ((0.0006, 0.005),))
    assert [gate.verdict for gate in gates.of_asleep([base, own])] == verdicts
    assert len(list(asleep_table([base, own], ASLEEP_BASE))) == 6
    assert [gate.verdict for gate in gates.of_asleep([])] == ["not measured"] * 2


def test_the_latency_beside_sleepers_is_by_that_of_its_turn() -> None:
    """A machine that is slow for two turns of three is slow for both servers, and moves no ratio."""
    idle, beside = ((0.1, 1.0), (0.2, 4.0), (0.2, 4.0)), ((0.1, 1.5), (0.2, 6.0), (0.2, 5.0))
    assert Asleep("trivet", 10, None, idle, beside).slower == 1.5


def test_both_servers_are_asked_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has as many series, none twice while the other waits but where the order changes, and keeps its own."""
    asked: list[int] = []

    def series(address: tuple[str, int], _: int) -> tuple[float, float]:
        asked.append(address[1])
        return (address[1], len(asked))

    monkeypatch.setattr(asleep, "_series", series)
    idle, beside = asleep._in_turns(("127.0.0.1", 1), ("127.0.0.1", 2), 900)
    assert asked == [1, 2, 2, 1] * (asleep.TURNS // 2) + [1, 2]
    assert {each[0] for each in idle} == {1}
    assert {each[0] for each in beside} == {2}


@pytest.mark.parametrize(
    ("rate", "memory", "verdicts"),
    [(100.0, 20_000, ["pass", "pass"]), (99.0, 20_001, ["FAIL", "FAIL"]), (100.0, None, ["pass", "not measured"])],
)
def test_a_room_is_judged_by_the_best_other_in_each_respect(
    rate: float, memory: float | None, verdicts: list[str]
) -> None:
    """The fastest need not be the smallest; ours without `Broadcast` is no other."""
    figures = [
        Room("fast", 10, 30_000, 30_000, (100.0,), (1e-5,), (0.1,)),
        Room("small", 10, 20_000, 20_000, (50.0,), (2e-5,), (0.1, 0.2)),
        Room("trivet", 10, memory, memory, (rate,), (1e-5,), (0.1,)),
        Room("trivet-loop", 10, 10_000, 10_000, (900.0,), (1e-6,), (0.1,)),
    ]
    assert [gate.verdict for gate in gates.of_room(figures)] == verdicts
    assert [gate.verdict for gate in gates.of_room([])] == ["not measured"] * 2
    assert len(list(room_table(figures, "fast"))) == 8


def test_the_ratios_of_rooms_are_taken_within_a_round() -> None:
    """A machine that is slow for two rounds of three moves the median of each room, and no ratio of two."""
    other = Room("fast", 10, None, None, (1000.0, 100.0, 100.0), (1e-6, 1e-5, 1e-5), (0.1,))
    own = Room("trivet", 10, None, None, (1200.0, 120.0, 130.0), (5e-7, 5e-6, 4e-6), (0.1,))
    deliveries = gates.of_room([other, own])[0]
    assert (deliveries.ratio, deliveries.other) == (1.2, 2.0)
    row = list(room_table([other, own], "fast"))[-1]
    assert "| 1.20 | 1.20..1.30 " in " ".join(row.split())


def test_rooms_speak_in_turns_and_one_that_breaks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round has a burst of each room, in another order than before; the others go on without one that broke."""
    bursts: list[int] = []

    class Clients:
        def __init__(self, port: int) -> None:
            self.port = port

        def say(self, messages: int) -> float:
            if messages == room.BURST:
                bursts.append(self.port)
                if self.port == 3 and bursts.count(3) == 3:
                    raise Broken("silence")
            return 0.5

    @contextmanager
    def crowd(address: tuple[str, int], _: int) -> Generator[Clients]:
        yield Clients(address[1])

    monkeypatch.setattr(room, "crowd", crowd)
    servers = [Server(Peer(f"p{port}", "trivet", "m:app"), ("127.0.0.1", port), (os.getpid(),)) for port in (1, 2, 3)]
    figures, wrong = room.measure(servers, 50, room.Pace(4, 2))
    assert bursts == [1, 2, 3, 3, 2, 1, 2, 3, 1, 1, 2]
    assert [(each.peer, len(each.rates), len(each.last)) for each in figures] == [("p1", 4, 8), ("p2", 4, 8)]
    assert wrong == ["p3 broke with 50 in a room: silence"]


@pytest.mark.parametrize(("ratios", "verdict"), [((0.2, 0.3, 0.25), "pass"), ((0.2, 0.9, 0.24), "FAIL")])
def test_the_redis_is_judged_by_the_median_of_its_pipelines(ratios: tuple[float, ...], verdict: str) -> None:
    """GET and SET with sixteen requests on their way; what is slower without, and INCR, are shown and not judged."""
    figures = [
        Ratio("GET", 16, 3.0, 10.0, ratios),
        Ratio("GET", 1, 1.0, 10.0, (0.1,)),
        Ratio("INCR", 16, 1.0, 10.0, (0.1,)),
    ]
    assert [gate.verdict for gate in gates.of_redis(figures)] == [verdict, "not measured"]
    assert len(list(redis_table(figures))) == 7


# The page ---------------------------------------------------------------------------------------------------------


def test_the_chart_tells_its_figures_to_who_does_not_see_it() -> None:
    """Title and description are named by the picture, hold every bar, and no label can break the markup."""
    root = ElementTree.fromstring(bars("Rates", "Bars.", [Bar("a & <b>", 50.0), Bar("ours", 100.0, "ours")], "req/s"))
    assert root.get("role") == "img"
    labelled = (root.get("aria-labelledby") or "").split()
    assert [each.get("id") for each in (*root.iter(f"{SVG}title"), *root.iter(f"{SVG}desc"))] == labelled
    assert root.findtext(f"{SVG}desc") == "Bars. In req/s: a & <b> 50; ours 100."
    widths = [float(rect.get("width") or 0) for rect in root.iter(f"{SVG}rect")][1:]
    assert widths[1] == 2 * widths[0]


def test_the_page_names_the_machine_and_shows_the_chart(tmp_path: Path) -> None:
    """Figures without the machine say nothing; the chart lies beside the page, and its path in it is relative."""
    page = tmp_path / "RESULTS.md"
    write(page, [("Processor", "one core")], [["## Gates"]], rows(typed(bare=1.0, trivet=2.0), "bare"))
    text = page.read_text()
    assert "| Processor | one core |" in text
    assert "](results.svg)" in text
    assert "## Gates" in text
    assert (tmp_path / "results.svg").read_text().count("<rect") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "flask"], "there is no 'flask'; there are aiohttp, bare, "),
        (["--cases", "soap"], "there is no 'soap'; there are awaits, download, "),
        (["--sections", "all"], "there is no 'all'; there are work, metrics, stock, asleep"),
        (["--rounds", "0"], "0 is not a positive number"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name ends the command before a server starts, and shows what there is."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
