"""The parts of the load test that need no server: documents, replies, figures."""

import io
import itertools
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree
from rich.console import Console

from pgbourse.loadtest import generate
from pgbourse.loadtest.measurement import Measurement
from pgbourse.loadtest.progress import LoadProgress
from pgbourse.loadtest.reference_server import ReferenceServer
from pgbourse.loadtest.replies import count_results, excerpt, is_complete, problem, without_length
from pgbourse.loadtest.templates import KINDS
from pgbourse.loadtest.workload import Feeder, Template, Workload, fresh_account, fresh_prefix
from pgbourse.wire.framing import Framing, wrap_reply
from pgbourse.wire.messages import Action, Request, parse


def take(feeder: Feeder, number: int) -> list[tuple[bytes, Template]]:
    return [next(feeder) for _ in range(number)]


def test_the_same_seed_gives_the_same_documents() -> None:
    one, same, other = (Feeder(Workload(orders=3, queries=0.2, seed=seed)) for seed in (1, 1, 2))
    documents = take(one, 100)
    assert documents == take(same, 100)
    assert documents != take(other, 100)


def test_documents_are_valid_and_within_the_bounds_asked_for() -> None:
    workload = Workload(orders=4, accounts=7, symbols=3, spread=0.5, first_account=50, symbol_prefix="Q")
    seen = set()
    for document, template in take(Feeder(workload), 300):
        requests = parse(document).children
        assert template.requests == len(requests) == 4
        for request in requests:
            assert isinstance(request, Request)
            assert request.action == Action.PLACE_ORDER
            assert request.account_id == template.account
            seen.add((request.account_id, request.sym, request.limit))
    assert {account for account, _, _ in seen} == {str(number) for number in range(50, 57)}
    assert {sym for _, sym, _ in seen} == {"Q0", "Q1", "Q2"}
    assert {limit for _, _, limit in seen} == {"99.50", "99.75", "100.00", "100.25", "100.50"}


def test_market_makers_quote_both_sides_of_every_symbol_and_the_others_take() -> None:
    workload = Workload(makers=8, accounts=40, symbols=3)
    makers = set(workload.account_ids()[:8])
    quoted = set()
    limits: dict[tuple[str, str], set[float]] = {}
    for document, _ in take(Feeder(workload), 1000):
        (order,) = parse(document).children
        assert isinstance(order, Request)
        assert order.amount
        assert order.limit
        side = "sells" if order.amount.startswith("-") else "buys"
        who = "maker" if order.account_id in makers else "taker"
        limits.setdefault((who, side), set()).add(float(order.limit))
        if who == "maker":
            quoted.add((order.account_id, order.sym, side))
    assert len(quoted) == 8 * 3 * 2
    assert limits["maker", "buys"] == {95 + 0.25 * step for step in range(20)}
    assert limits["maker", "sells"] == {100.25 + 0.25 * step for step in range(20)}
    assert limits["taker", "buys"] == {105}
    assert limits["taker", "sells"] == {95}


def test_where_all_make_a_market_all_take() -> None:
    workload = Workload(makers=40, accounts=40)
    by_kind = [[template.account for _, template in take(Feeder(workload), 1000)[part::5]] for part in (0, 4)]
    assert all(set(accounts) == set(workload.account_ids()) for accounts in by_kind)


def test_set_up_gives_every_account_every_symbol() -> None:
    workload = Workload(accounts=120, symbols=2)
    made = [parse(document).children for document, _ in workload.setup_documents()]
    assert [template.requests for _, template in workload.setup_documents()] == [len(part) for part in made]
    requests = [request for part in made for request in part if isinstance(request, Request)]
    assert sorted({request.account_id or "" for request in requests if request.sym is None}) == sorted(
        workload.account_ids()
    )
    granted = [(request.account_id, request.sym) for request in requests if request.sym]
    assert len(set(granted)) == len(granted) == 240


def test_queries_and_cancels_name_orders_of_their_own_account_and_cancel_each_once() -> None:
    feeder = Feeder(Workload(accounts=5, queries=0.3, cancels=0.3, seed=3))
    opened = 0
    of_account: dict[str, set[int]] = {}
    cancelled: list[int] = []
    kinds: dict[str, int] = {}
    for document, template in itertools.islice(feeder, 3000):
        (request,) = parse(document).children
        assert isinstance(request, Request)
        kinds[request.action] = kinds.get(request.action, 0) + 1
        if request.action == Action.PLACE_ORDER:
            opened += 1
            of_account.setdefault(template.account, set()).add(opened)
            reply = b'<results><opened sym="S1" id="%d" amount="1" limit="2"/></results>' % opened
            feeder.learn(template, document, reply)
        else:
            assert request.order_id in of_account[template.account]
            if request.action == Action.CANCEL_ORDER:
                cancelled.append(request.order_id)
    assert len(set(cancelled)) == len(cancelled)
    assert 700 < kinds[Action.QUERY_ORDER] < 1000
    assert 700 < kinds[Action.CANCEL_ORDER] < 1000


MIXED = Workload(
    accounts=4, mix=tuple((kind, 1.0) for kind in KINDS), refs="r", orders=3, first_account=1, seed=5
)


def kind_of(request: etree._Element) -> str:
    """Return a request's kind, in the words of --mix."""
    said = request.attrib
    if "all" in said:
        return {None: "cancel-all", "0": "disarm"}.get(said.get("after"), "arm")
    for name, kind in {
        "tif": said.get("tif", "").lower(),
        "type": "market",
        "post": "post",
        "stp": "stp",
    }.items():
        if name in said:
            return kind
    return str(request.tag)


def test_a_mix_has_every_kind_and_names_living_orders_of_the_right_side() -> None:
    """Each document is answered by the reference, which refuses a replace of the other side."""
    feeder, server = Feeder(MIXED), ReferenceServer()
    for document, _ in MIXED.setup_documents():
        server.reply(document)
    seen, refs, problems = Counter[str](), list[str](), Counter[str]()
    for document, template in itertools.islice(feeder, 3000):
        requests = etree.fromstring(document)
        reply = server.reply(document).encode()
        results = etree.fromstring(reply)
        assert template.requests == len(requests) == len(results) == count_results(reply) == 3
        for request, result in zip(requests, results, strict=True):
            seen[kind_of(request)] += 1
            problems[f"{request.tag!s} {result.text or ''}"] += result.tag == "error"
            refs += [] if (ref := request.get("ref")) is None else [ref]
            if request.tag in ("order", "replace"):
                assert ref is not None
        feeder.learn(template, document, reply)
    assert set(seen) == set(KINDS)
    assert min(seen.values()) > 300
    assert len(set(refs)) == len(refs)
    assert not [problem for problem in problems if "side" in problem or "no such order" in problem]


def test_without_refs_nothing_has_one_and_weights_are_heeded() -> None:
    kinds = Counter[str]()
    for document, _ in take(Feeder(Workload(mix=[("ioc", 3.0), ("order", 1.0), ("fok", 0.0)])), 4000):
        (request,) = etree.fromstring(document)
        assert request.get("ref") is None
        kinds[request.get("tif", "none")] += 1
    assert set(kinds) == {"IOC", "none"}
    assert 2800 < kinds["IOC"] < 3200


def test_orders_that_never_rest_are_not_named_later() -> None:
    feeder = Feeder(Workload(accounts=1, mix=[("cancel", 1.0)]))
    document, template = next(feeder)
    assert b"<order" in document  # it knows none
    gone = b'<opened sym="X" amount="1" limit="1" tif="IOC" id="7" executed="0" canceled="1"/>'
    feeder.learn(template, document, gone + b'<opened sym="X" amount="-1" limit="1" ref="r-1" id="8"/>')
    assert b'<cancel id="8"/>' in next(feeder)[0]
    assert b"<order" in next(feeder)[0]


def test_orders_that_went_with_others_are_not_named_later() -> None:
    feeder = Feeder(Workload(accounts=1, mix=[("query", 1.0)]))
    _, template = next(feeder)
    opened = b"".join(b'<opened sym="X" amount="1" limit="1" id="%d"/>' % number for number in range(1, 7))
    feeder.learn(template, b"", opened)
    passing = (
        b'<opened sym="X" amount="9" limit="1" stp="maker" id="7" executed="0" canceled="0" passed="2 3"/>'
    )
    feeder.learn(template, b"", passing)
    canceled = b'<canceled all="true" sym="X" count="2"><order id="1" shares="1"/><order id="6" shares="1"/>'
    feeder.learn(template, b"", canceled + b"</canceled>")
    listed = b'<orders count="1"><order id="4" sym="X" amount="1" limit="1" open="1" time="1"/></orders>'
    feeder.learn(template, b"", listed)
    assert {next(feeder)[0] for _ in range(20)} == {
        b'<transactions id="1000"><query id="%d"/></transactions>' % number for number in (4, 5)
    }


def test_a_workload_tells_what_a_server_must_know() -> None:
    assert Workload(queries=0.5, mix=[("order", 1), ("query", 1), ("market", 0)]).features() == set()
    assert MIXED.features() == {
        *("ref", "tif", "post", "stp", "market", "replace", "reduce", "cancel-all", "cancel-after"),
        *("account", "orders", "book"),
    }


def test_fresh_accounts_differ_and_suit_the_protocol() -> None:
    numbers = {fresh_account() for _ in range(100)}
    assert len(numbers) > 95
    assert all(re.fullmatch("[A-Z]{4}", fresh_prefix(number)) for number in numbers)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n \n", b"\0"])
def test_a_reply_is_complete_at_its_last_byte_and_not_before(end: bytes) -> None:
    reply = b'<?xml version="1.0"?><results><error id="9">no such order</error></results>'
    assert is_complete(reply + end)
    assert not any(is_complete(reply[:length]) for length in range(len(reply)))


def test_results_are_counted_one_for_each_request() -> None:
    reply = (
        b'<results><created id="1"/><opened sym="X" amount="1" limit="2" id="3"/><error id="4">no</error>'
        b'<status id="5"><canceled shares="1" time="9"/><executed shares="1" price="2" time="8"/></status>'
        b'<canceled id="6"><canceled shares="1" time="9"/></canceled>'
        b'<canceled ref="a" id="6"><canceled shares="1" time="9"/><reduced shares="1" time="9"/></canceled>'
        b'<reduced id="6" shares="1" open="2"/><canceled all="true" count="1"><order id="7" shares="1"/>'
        b'</canceled><account cash="1" reserved="0"><position sym="X" shares="1" reserved="0"/></account>'
        b'<orders count="1"><order id="1" sym="X" amount="1" limit="1" open="1" time="9"/></orders>'
        b'<book sym="X" seq="0"><bid price="1" shares="1" orders="1"/></book><armed after="1" time="9"/>'
        b'<disarmed/><server version="1" features=""/></results>'
    )
    assert count_results(reply) == 14


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"\n hello", b"<html>" + b"x" * 100, b"7" * 99]
)
def test_what_can_become_no_reply_is_told(data: bytes) -> None:
    assert "not a reply" in (problem(data) or "")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"<", b"1234\n", b"AAA\0\n<?xml ", b"AAA\0\n", b"77\n\n<results>" + b"x" * 99]
)
def test_what_can_become_a_reply_is_waited_for(data: bytes) -> None:
    assert problem(data) is None


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("declaration", [b"", b'<?xml version="1.0"?>'])
def test_the_xml_of_a_reply_begins_after_a_length_of_any_framing(
    framing: Framing, declaration: bytes
) -> None:
    for size in (*range(40, 400), 0x0F3C, 0x3C3C):  # a binary length may hold the code of "<"
        xml = declaration + b"<results>" + b" " * size + b"</results>"
        assert without_length(wrap_reply(xml, framing)).rstrip() == xml
        assert without_length(wrap_reply(xml, framing) + b"\0").rstrip() == xml


def test_an_excerpt_is_printable() -> None:
    assert excerpt(b"a\x1b[2J\xff") == r"'a\x1b[2J\\xff'"


def test_percentiles_are_right_within_a_thousandth() -> None:
    measurement = Measurement()
    for milliseconds in range(1, 1001):
        measurement.record(milliseconds / 1000)
    measurement.documents = 1000
    latency = measurement.latency_ms()
    # With a thousand values, two neighbours are equally good percentiles.
    assert latency["p50"] == pytest.approx(500.5, rel=2e-3)
    assert latency["p90"] == pytest.approx(900, rel=2e-3)
    assert latency["p99.9"] == pytest.approx(999, rel=2e-3)
    assert latency["max"] == 1000


def test_errors_are_counted_by_message_without_their_numbers() -> None:
    measurement = Measurement()
    measurement.note_errors(
        b'<results><error id="1">no such order: 1</error><error id="22">no such order: 22</error>'
    )
    for number in ("3f2a9c1b", "deadbeef"):
        measurement.note_errors(f"<error>internal error {number}: not done</error>".encode())
    measurement.note_errors(b'<error sym="X"/><error>funds: 1.50 &lt; 2</error>')
    assert measurement.errors == {"no such order: N": 2, "(no text)": 1, "funds: N < N": 1} | {
        "internal error N: not done": 2
    }


def test_errors_are_shown_without_what_a_terminal_obeys() -> None:
    measurement = Measurement()
    measurement.note_errors("<results><error>no \x1b[2J \x9b money: 5 \u20ac</error></results>".encode())
    assert measurement.errors == {r"no \x1b[NJ \x9b money: N €": 1}


def test_messages_that_all_differ_take_bounded_memory() -> None:
    measurement = Measurement()
    for number in range(20_000):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        measurement.note_errors(f"<error>{letters}</error>".encode())
    assert sum(measurement.errors.values()) == 20_000
    assert len(measurement.errors) <= 101


def test_nothing_answered_has_a_summary() -> None:
    assert Measurement().lines()[0] == "0 orders/s  0 documents/s"


@pytest.mark.parametrize(
    ("seconds", "documents", "left"), [(10.0, None, "8 s left"), (None, 500, "200 documents left")]
)
def test_progress_shows_the_latest_rates_and_what_is_left(
    seconds: float | None, documents: int | None, left: str
) -> None:
    terminal, measurement = io.StringIO(), Measurement()
    console = Console(file=terminal, force_terminal=True, width=150)
    with LoadProgress(seconds=seconds, documents=documents, console=console) as progress:
        measurement.series.append((1.0, 100, 90))
        progress(measurement)
        for _ in range(200):
            measurement.record(0.004)
        measurement.series.append((2.0, 300, 240))
        progress(measurement)
    drawn = terminal.getvalue()
    assert "90 orders/s  100 documents/s  mean latency 0.00 ms" in drawn
    assert f"150 orders/s  200 documents/s  mean latency 4.00 ms  0 errors  {left}" in drawn
    assert drawn.endswith("\x1b[2K")  # the bar is gone


def test_generated_files_are_the_same_for_the_same_seed_and_not_overwritten(tmp_path: Path) -> None:
    workload = replace(MIXED, accounts=5, symbols=2, orders=2)
    for name in ("one", "two"):
        generate.generate(workload, 40, tmp_path / name)
    documents = sorted(path.name for path in (tmp_path / "one").glob("*.xml"))  # as a shell finds them
    assert len(documents) == 40
    assert documents[:2] == ["0001.xml", "0002.xml"]
    replies = sorted(path.name for path in (tmp_path / "one" / "expected").iterdir())
    assert replies == documents
    for name in (*documents, *(f"expected/{name}" for name in replies)):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with pytest.raises(generate.GenerateError, match="holds documents already"):
        generate.generate(workload, 40, tmp_path / "one")


def test_generating_too_few_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(generate.GenerateError, match="it takes 2 to create 60 accounts, and at least one"):
        generate.generate(Workload(accounts=60), 2, tmp_path)
