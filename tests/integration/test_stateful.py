"""Random documents through the wire against the model in memory: every reply, balance, position and the book.

One client sends documents of several children, alone and pipelined, in all three framings and cut anywhere.
PGBOURSE_FUZZ_EXAMPLES says how many runs to try (default 10), PGBOURSE_FUZZ_STEPS how long each may be (15).
"""

import contextlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from lxml import etree

from pgbourse.loadtest.reference import ReferenceExchange
from pgbourse.testing.emptying import Emptier
from pgbourse.wire import requests
from pgbourse.wire.framing import Framing, wrap_reply
from tests.integration.client import WireClient
from tests.integration.conftest import Gateway, Session, StartGateway
from tests.integration.elements import Child, answers, assert_repeated, write
from tests.sql.market import Request
from tests.sql.test_model import assert_same_state, order_of
from tests.sql.told import assert_answered
from tests.sql.trading import BALANCES, GRANTS, Trading
from tests.unit.streams import cut

EXAMPLES = int(os.environ.get("PGBOURSE_FUZZ_EXAMPLES", "10"))
STEPS = int(os.environ.get("PGBOURSE_FUZZ_STEPS", "15"))


@dataclass(frozen=True)
class Document:
    """A document, of the children that results are due for."""

    xml: str
    children: tuple[Child, ...]


def broken(xml: str, **echo: str) -> Child:
    return Child(None, xml, echo)


BROKEN_CREATIONS = [
    broken('<account id="1" balance="-1"/>', id="1"),
    broken('<account id="one" balance="1"/>', id="one"),
    broken('<account balance="1"/>'),
    broken('<symbol sym="S-1"><account id="1">5</account></symbol>', sym="S-1", id="1"),
    broken('<symbol sym="S1"><account id="1">-5</account></symbol>', sym="S1", id="1"),
    broken('<position id="1"/>', id="1"),
]
BROKEN_TRANSACTIONS = [
    broken('<order sym="S1" amount="0" limit="5"/>', sym="S1", amount="0", limit="5"),
    broken('<order sym="S1" amount="1e3" limit="5"/>', sym="S1", amount="1e3", limit="5"),
    broken('<order sym="S1" amount="1" limit="-5"/>', sym="S1", amount="1", limit="-5"),
    broken('<order sym="S1&apos;" amount="1" limit="5"/>', sym="S1'", amount="1", limit="5"),
    broken('<order amount="1" limit="5"/>', amount="1", limit="5"),
    broken('<query id="first"/>', id="first"),
    broken("<cancel/>"),
    broken('<replace id="1"/>', id="1"),
    broken('<order sym="S1" amount="1" limit="5" tif="ioc"/>', sym="S1", amount="1", limit="5", tif="ioc"),
    broken(
        '<order post="TRUE" sym="S1" amount="1" limit="5"/>', sym="S1", amount="1", limit="5", post="TRUE"
    ),
    broken('<order sym="S1" amount="1" limit="5" ref=""/>', sym="S1", amount="1", limit="5", ref=""),
    broken('<order sym="S1" amount="1" limit="5" budget="5"/>', sym="S1", amount="1", limit="5", budget="5"),
    broken(
        '<order sym="S1" amount="1" limit="5" type="market" budget="5"/>',
        **{"sym": "S1", "amount": "1", "limit": "5", "type": "market", "budget": "5"},
    ),
    broken('<query id="1" ref="r1"/>', id="1", ref="r1"),
    broken('<cancel all="true" id="1"/>', id="1", all="true"),
    broken('<cancel all="true" sym="S1" after="60"/>', all="true", sym="S1", after="60"),
    broken('<cancel all="true" after="86401"/>', all="true", after="86401"),
    broken('<reduce id="1"/>', id="1"),
    broken('<reduce id="1" to="1" shares="1"/>', id="1", to="1", shares="1"),
    broken('<orders max="1001"/>', max="1001"),
    broken('<book sym="S1" depth="0"/>', sym="S1", depth="0"),
    broken('<account id="1"/>', id="1"),
]
BROKEN_DOCUMENTS = [
    Document(xml, (broken(""),))
    for xml in (
        "<orders/>",
        '<!DOCTYPE create [<!ENTITY a "1">]><create><account id="&a;" balance="1"/></create>',
        '<create><account id="1" balance="1"></create>',
        "<transactions/>",
    )
]

accounts = st.sampled_from(["1", "2", "3", "007"])
syms = st.sampled_from(["S1", "S1", "S1", "NULL", "S2"])
# Few prices, so that orders meet, and one that differs in the last digit.
limits = st.sampled_from(["100", "100", "100.000000000001", "99", "101", "102.5"])


def element(name: str, **attributes: str) -> str:
    return f"<{name}{''.join(f' {key}={value!r}' for key, value in attributes.items())}/>"


@st.composite
def numbers(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    """Write a number in one of the ways that say the same."""
    value = draw(values)
    ending = draw(st.sampled_from(["", "", "", "0"])) if "." in value and len(value) < 12 else ""
    sign = "-" if value.startswith("-") else draw(st.sampled_from(["", "", "", "+"]))
    return sign + draw(st.sampled_from(["", "", "", "00"])) + value.removeprefix("-") + ending


@st.composite
def creations(draw: st.DrawFn) -> Document:
    pieces: list[str] = []
    children: list[Child] = []
    for kind in draw(st.lists(st.sampled_from(["account", "symbol", "symbol", "broken"]), max_size=5)):
        if kind == "broken":
            children.append(draw(st.sampled_from(BROKEN_CREATIONS)))
            pieces.append(children[-1].xml)
        elif kind == "account":
            account, balance = draw(accounts), draw(numbers(st.sampled_from(BALANCES)))
            request = Request("create_account", account, amount=balance)
            children.append(Child(request, element("account", id=account, balance=balance), {"id": account}))
            pieces.append(children[-1].xml)
        else:
            sym = draw(syms)
            grants = draw(st.lists(st.tuples(accounts, numbers(st.sampled_from(GRANTS))), max_size=3))
            texts = [f'<account id="{account}"> {shares}\n</account>' for account, shares in grants]
            pieces.append(f'<symbol sym="{sym}">{"".join(texts)}</symbol>')
            for account, shares in grants:
                request = Request("grant_shares", account, sym, shares)
                children.append(Child(request, "", {"sym": sym, "id": account}))
            if not grants:
                children.append(Child(Request("create_symbol", sym=sym), "", {"sym": sym}))
    return Document(f"<create>{''.join(pieces)}</create>", tuple(children))


# Which order a query or a cancel means is settled when it is sent: {} becomes an id near the newest.
BY_ID = [
    Child(Request(f"{name}_order"), f'<{name} id="{{}}"/>', {"id": "{}"})
    for name in ("query", "cancel", "cancel")
]


@st.composite
def orders(draw: st.DrawFn) -> Child:
    sym = draw(syms)
    shares = st.builds(
        str, st.sampled_from([1, -1, 2, -2, 5, -5, 100, -100, Decimal("0.5"), Decimal("-7.5")])
    )
    amount = draw(numbers(shares))
    limit = draw(numbers(limits))
    echo = {"sym": sym, "amount": amount, "limit": limit}
    return Child(Request("place_order", None, sym, amount, limit), element("order", **echo), echo)


@st.composite
def beyond(draw: st.DrawFn, trading: Trading, account: str, newest: int) -> Child:
    """Make an element of what the protocol has beyond the base, with attributes in any order."""
    chance = draw(st.randoms(use_true_random=False))
    trading.narrow(chance, account)
    request = trading.transaction(newest)
    while request.action == "fire_switch":  # which no client can ask for
        request = trading.transaction(newest)
    child = write(request, chance)
    is_order = request.action in ("place_order", "replace_order")
    return replace(child, request=None) if is_order and order_of(request).misspelt() else child


@st.composite
def transactions(draw: st.DrawFn, trading: Trading, newest: int) -> Document:
    account = draw(accounts)
    some = st.one_of(
        *[orders(), st.sampled_from(BY_ID), st.sampled_from(BROKEN_TRANSACTIONS)],
        *[beyond(trading, account, newest)] * 4,
    )
    children = []
    for child in draw(st.lists(some, max_size=10)):
        if child.request is None or child.request.account is not None:
            children.append(child)
            continue
        request, echo = child.request._replace(account=account), child.echo
        if echo.get("id"):
            order_id = draw(st.integers(1, newest + 2))
            request, echo = request._replace(order_id=order_id), {"id": str(order_id)}
        children.append(Child(request, child.xml.format(echo.get("id")), echo))
    xml = "".join(child.xml for child in children)
    codes = draw(st.sampled_from(["", ' codes="true"', ' codes="true"']))
    return Document(f'<transactions id="{account}"{codes}>{xml}</transactions>', tuple(children))


class Wire(RuleBasedStateMachine):
    """One client of an exchange with nothing in it, and the model that gets the same documents."""

    def __init__(self, gateway: Gateway, connection: Session, empty: Callable[[], None]) -> None:
        super().__init__()
        empty()
        self.connection = connection
        self.model = ReferenceExchange()
        self.trading = Trading(random.Random(), ["1"], ["S1", "S1", "S1", "NULL", "S2"])
        self.client = WireClient(gateway.address)

    def teardown(self) -> None:
        self.client.socket.close()

    @initialize()
    def something_to_trade(self) -> None:
        """Runs that begin with nothing would spend most of their length on refusals."""
        children = [
            *(
                Child(Request("create_account", account, amount="5000"), "", {"id": account})
                for account in "12"
            ),
            *(
                Child(Request("grant_shares", account, sym, "50"), "", {"sym": sym, "id": account})
                for sym in ("S1", "NULL")
                for account in "12"
            ),
        ]
        grants = '<account id="1">50</account><account id="2">50</account>'
        xml = (
            '<create><account id="1" balance="5000"/><account id="2" balance="5000"/>'
            f'<symbol sym="S1">{grants}</symbol><symbol sym="NULL">{grants}</symbol></create>'
        )
        self._exchange([(Document(xml, tuple(children)), Framing.LENGTH_LINE)], [])

    @rule(data=st.data())
    def documents(self, data: st.DataObject) -> None:
        """Send some documents at once, cut anywhere, and compare what comes back."""
        kinds = st.one_of(
            *[transactions(self.trading, max(self.model.orders, default=0))] * 4,
            creations(),
            st.sampled_from(BROKEN_DOCUMENTS),
        )
        sent = data.draw(st.lists(st.tuples(kinds, st.sampled_from(Framing)), min_size=1, max_size=3))
        size = sum(len(wrap_reply(document.xml.encode(), framing)) for document, framing in sent)
        self._exchange(sent, data.draw(st.lists(st.integers(1, size - 1), max_size=3, unique=True)))

    def _exchange(self, sent: Sequence[tuple[Document, Framing]], cuts: Sequence[int]) -> None:
        stream = b"".join(wrap_reply(document.xml.encode(), framing) for document, framing in sent)
        for piece in cut(stream, cuts):
            self.client.send_raw(piece)
        for document, _ in sent:
            reply = self.client.reply()
            note(f"{document.xml}\n{etree.tostring(reply).decode()}")
            self._compare(document, reply)
        assert_same_state(self.model, self.connection)

    def _compare(self, document: Document, reply: etree._Element) -> None:
        assert reply.tag == "results"
        assert len(reply) == len(document.children)
        for child, result in zip(document.children, reply, strict=True):
            assert_repeated(child, result)
            if child.request is None:
                assert result.tag == "error"
                assert result.text
            else:
                assert_answered(self.model, child.request, answers(result, child.request))


def run(gateway: Gateway, connection: Session, examples: int, phases: Sequence[Phase]) -> None:
    empty = Emptier(connection)

    class Fresh(Wire):
        def __init__(self) -> None:
            super().__init__(gateway, connection, empty)

    run_state_machine_as_test(
        Fresh,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            report_multiple_bugs=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(300 + 20 * EXAMPLES)
def test_every_reply_balance_position_and_the_book_agree_with_the_model(
    gateway: Gateway, connection: Session
) -> None:
    run(gateway, connection, EXAMPLES, [Phase.generate, Phase.shrink])
    row = connection.execute("select count(*) from exchange.check_integrity()").fetchone()
    assert row == (0,)


# What a trigger does to the rows of a table, before they are written.
MUTANTS = {
    "resting sellers are paid nothing": ("credits", "if new.shares = 0 then return null; end if;"),
    "orders rest at whole prices": (
        "resting_orders",
        "new.price_rank := sign(new.price_rank) * ceil(abs(new.price_rank));",
    ),
}


def assert_found_out(gateway: Gateway, connection: Session) -> None:
    """The comparison above must fail, on far fewer runs than a real fault would get."""
    with contextlib.suppress(AssertionError):
        run(gateway, connection, 200, [Phase.generate])
        pytest.fail("the broken exchange passes for a good one")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_broken_sql_is_found_out(gateway: Gateway, connection: Session, mutant: str) -> None:
    table, change = MUTANTS[mutant]
    connection.execute(
        f"create function spoil() returns trigger language plpgsql as 'begin {change} return new; end'"
    )
    connection.execute(
        f"create trigger spoil before insert on exchange.{table} for each row execute function spoil()"
    )
    assert_found_out(gateway, connection)


def test_a_broken_gateway_is_found_out(
    start_gateway: StartGateway, connection: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An <error> that repeats nothing of its child."""
    refuse = requests.refuse
    monkeypatch.setattr(requests, "refuse", lambda get, _, *why: refuse(get, (), *why))
    assert_found_out(start_gateway(), connection)
