"""No document comes between another's children, and a ref is one order, wherever it is sent."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.client import wait_until
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.sql.mutants import REFS_MEAN_NOTHING, Mutant, install

CREATE = (
    b'<create><account id="1" balance="1000000"/>'
    b'<symbol sym="A"><account id="1">1000000</account></symbol>'
    b'<symbol sym="B"><account id="1">1000000</account></symbol></create>'
)


def document(*children: str) -> bytes:
    return f'<transactions id="1">{"".join(children)}</transactions>'.encode()


BUYS = ['<order sym="A" amount="1" limit="1"/>', '<order sym="B" amount="1" limit="1"/>'] * 5
CANCEL_ALL = '<cancel all="true"/>'
LOOKS = ["<account/>", "<orders/>"]

# Whose lanes, and whether both clients have the same gateway.
PLACES = [(0, True), (2, True), (0, False), (2, False)]


@pytest.fixture(params=PLACES, ids=["one-stage", "lanes", "two-gateways", "two-gateways-lanes"])
def gateways(request: pytest.FixtureRequest, start_gateway: StartGateway) -> tuple[Gateway, Gateway]:
    lanes, is_same = request.param
    one = start_gateway(lanes=lanes)
    assert {child.tag for child in one.ask(CREATE)} == {"created"}
    return one, one if is_same else start_gateway(lanes=lanes)


def meanwhile(gateway: Gateway, asked: bytes, clients: int, action: Callable[[], None]) -> None:
    """Do something while clients ask for this again and again; each has asked before that begins."""
    done = threading.Event()
    begun = [threading.Event() for _ in range(clients)]

    def ask(has_begun: threading.Event) -> None:
        with gateway.connect() as client:
            while not done.is_set():
                client.ask(asked)
                has_begun.set()

    threads = [threading.Thread(target=ask, args=(event,)) for event in begun]
    for thread in threads:
        thread.start()
    try:
        for has_begun in begun:
            assert has_begun.wait(60)
        action()
    finally:
        done.set()
        for thread in threads:
            thread.join()


def sees_nothing_open(reply: Any) -> bool:
    """Whether all looks behind a first child, which has cancelled all, are equal and show nothing open."""
    accounts = {child.get("reserved") for child in reply if child.tag == "account"}
    counts = {child.get("count") for child in reply if child.tag == "orders"}
    cash = {child.get("cash") for child in reply if child.tag == "account"}
    return accounts == {"0"} and counts == {"0"} and len(cash) == 1


def test_what_is_cancelled_is_gone_for_the_rest_of_the_document(gateways: tuple[Gateway, Gateway]) -> None:
    one, other = gateways
    asked = document(CANCEL_ALL, *LOOKS, *BUYS, CANCEL_ALL, *LOOKS)
    canceled = []

    def look() -> None:
        with one.connect() as client:
            for _ in range(30):
                reply = client.ask(asked)
                first, *looks = reply[:3]
                assert sees_nothing_open(looks)
                canceled.append(int(first.get("count") or 0))
                again, *looks = reply[-3:]
                assert again.get("count") == str(len(BUYS))
                assert sees_nothing_open(looks)

    meanwhile(other, document(*BUYS), 4, look)
    assert sum(canceled) > 0  # others were there


@pytest.mark.parametrize("lanes", [0, 2])
def test_a_document_in_several_parts_is_not_interrupted_in_its_gateway(
    start_gateway: StartGateway, lanes: int
) -> None:
    gateway = start_gateway(lanes=lanes, batch_requests=10)
    gateway.ask(CREATE)
    asked = document(CANCEL_ALL, *LOOKS * 30)

    def look() -> None:
        with gateway.connect() as client:
            for _ in range(10):
                _, *looks = client.ask(asked)
                assert sees_nothing_open(looks)

    meanwhile(gateway, document(*BUYS), 4, look)


def require_looks_of_one_moment(gateways: tuple[Gateway, Gateway], *, with_lanes: bool) -> None:
    """What is reserved is what open orders reserve, 1 each; and, with lanes, orders that aren't open yet."""
    one, other = gateways
    seen = set()

    def look() -> None:
        with one.connect() as client:
            for number in range(1000):
                client.ask(document(CANCEL_ALL))  # fewer are open than a list may have
                looks = client.ask(document(*LOOKS * 5))
                (reserved,) = {child.get("reserved") for child in looks if child.tag == "account"}
                (count,) = {child.get("count") for child in looks if child.tag == "orders"}
                assert reserved == count or (with_lanes and int(reserved or 0) > int(count or 0)), (
                    "of two moments"
                )
                seen.add(count)
                if number >= 20 and len(seen) > 1:
                    break

    meanwhile(other, document(*BUYS), 4, look)
    assert len(seen) > 1


def test_looks_of_a_document_see_one_moment(
    gateways: tuple[Gateway, Gateway], request: pytest.FixtureRequest
) -> None:
    require_looks_of_one_moment(gateways, with_lanes="lanes" in request.node.callspec.id)


def test_looks_of_several_moments_are_found(start_gateway: StartGateway, connection: Session) -> None:
    gateways = start_gateway(), start_gateway()
    gateways[0].ask(CREATE)
    install(connection, Mutant("look", "begin return query select * from {call}; end"))

    def look_until_found() -> None:
        for _ in range(20):
            require_looks_of_one_moment(gateways, with_lanes=False)

    with pytest.raises(AssertionError, match="of two moments"):
        look_until_found()


@pytest.mark.parametrize("batch_requests", [1000, 10])
def test_orders_of_a_document_follow_each_other_through_a_lane(
    start_gateway: StartGateway, batch_requests: int
) -> None:
    gateway = start_gateway(lanes=2, batch_requests=batch_requests)
    gateway.ask(CREATE)
    asked = document(*['<order sym="A" amount="1" limit="1" tif="GTC"/>'] * 50)

    def place() -> None:
        with gateway.connect() as client:
            for _ in range(10):
                ids = [int(child.get("id") or 0) for child in client.ask(asked)]
                assert ids == list(range(ids[0], ids[0] + 50))

    meanwhile(gateway, document(*['<order sym="A" amount="1" limit="1"/>'] * 20), 4, place)


# Documents of one symbol go through its lane, those of several are done in one transaction.
@pytest.mark.parametrize("syms", ["A", "AB"])
def test_a_ref_that_is_sent_to_all_at_once_is_one_order(
    gateways: tuple[Gateway, Gateway], connection: Session, syms: str
) -> None:
    refs = range(40)
    asked = document(
        *[f'<order sym="{syms[ref % len(syms)]}" amount="1" limit="1" ref="{ref}"/>' for ref in refs]
    )
    with ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for gateway in gateways for _ in range(4)]
        for client in clients:
            client.send(asked)
        replies = [client.reply() for client in clients]
    for answers in zip(*replies, strict=True):
        assert {answer.tag for answer in answers} == {"opened"}
        assert len({answer.get("id") for answer in answers}) == 1
        assert [answer.get("duplicate") for answer in answers].count(None) == 1
    assert connection.execute("select count(*) from exchange.orders").fetchone() == (len(refs),)


def test_refs_that_mean_nothing_are_found(gateways: tuple[Gateway, Gateway], connection: Session) -> None:
    install(connection, REFS_MEAN_NOTHING)
    with pytest.raises(AssertionError):
        test_a_ref_that_is_sent_to_all_at_once_is_one_order(gateways, connection, "A")


def test_who_lost_the_answer_sends_everything_again(
    gateways: tuple[Gateway, Gateway], connection: Session
) -> None:
    one, other = gateways
    asked = document(
        '<order sym="A" amount="10" limit="1" ref="a"/>',
        '<replace of="a" amount="20" limit="1" ref="b"/>',
        '<reduce ref="b" to="5"/>',
        '<order sym="B" amount="10" limit="1" ref="c" tif="IOC"/>',
        '<cancel ref="b"/>',
    )
    lost = one.connect()
    lost.send(asked)
    count = "select count(*) from exchange.orders"
    wait_until(lambda: connection.execute(count).fetchone() == (3,), "all is done")
    lost.socket.close()
    for gateway in (other, one):
        opened, replaced, reduced, ioc, canceled = gateway.ask(asked)
        assert [child.get("duplicate") for child in (opened, replaced, ioc)] == ["true"] * 3
        assert (replaced.get("replaced"), replaced.get("released")) == (opened.get("id"), "10")
        assert (ioc.get("executed"), ioc.get("canceled")) == ("0", "10")
        # Nothing is open by now, so there is nothing to change.
        assert [(child.tag, child.get("ref")) for child in (reduced, canceled)] == [("error", "b")] * 2
    assert connection.execute(count).fetchone() == (3,)
    done = "select array(select trim_scale(shares)::text from exchange.{} order by entry_id)"
    for table, shares in (("cancellations", ["10", "10", "5"]), ("reductions", ["15"])):
        assert connection.execute(done.format(table).encode()).fetchone() == (shares,)
