"""What is beyond the base protocol: the requests it makes, what contradicts what, and how it is answered."""

import re
import time
from typing import cast

import pytest

from pgbourse import __version__
from pgbourse.wire import fields
from pgbourse.wire.messages import FeedDocument, Refusal, Request, Terms, parse
from tests.unit.documents import creation, refused, reply_to, row, transaction

ORDER = 'sym="A" amount="5" limit="2"'


def asked(child: str) -> Request:
    request = transaction(child)
    assert isinstance(request, Request), request
    return request


def refusal(child: str) -> str:
    """What is wrong with a child, as its <error> says it."""
    return refused(transaction(child)).partition(">")[2].removesuffix("</error>")


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ('ref="a7"', Terms(ref="a7")),
        ('ref="a.B_7-:"', Terms(ref="a.B_7-:")),
        ('type="limit"', Terms(type="limit")),
        ('tif="GTC"', Terms(tif="GTC")),
        ('tif="IOC"', Terms(tif="IOC")),
        ('tif="FOK"', Terms(tif="FOK")),
        ('post="true"', Terms(post="true")),
        ('post="true" tif="GTC"', Terms(post="true", tif="GTC")),
        ('stp="taker"', Terms(stp="taker")),
        ('stp="maker"', Terms(stp="maker")),
        ('stp="both"', Terms(stp="both")),
        ('tif="FOK" ref="x" stp="both"', Terms(ref="x", tif="FOK", stp="both")),
        ('post="false" tif="IOC"', Terms(tif="IOC")),
    ],
)
def test_terms_of_an_order(written: str, terms: Terms) -> None:
    request = asked(f"<order {ORDER} {written}/>")
    assert request == Request("place_order", "7", "A", "5", "2", None, request.echo, terms)
    inverted = " ".join(reversed(written.split()))
    assert asked(f"<order {inverted} {ORDER}/>") == request


def test_a_market_order() -> None:
    buy = asked('<order sym="A" amount="60.0" type="market" budget="100.50"/>')
    assert buy == Request(
        "place_order",
        "7",
        "A",
        "60.0",
        None,
        None,
        ' sym="A" amount="60.0" type="market" budget="100.50"',
        Terms(type="market", budget="100.50"),
    )
    sell = asked('<order tif="FOK" sym="A" type="market" amount="-60"/>')
    assert (sell.limit, sell.terms) == (None, Terms(type="market", tif="FOK"))


def test_what_is_repeated_comes_in_one_order() -> None:
    everything = 'stp="both" post="false" tif="IOC" ref="r" type="limit" limit="2" amount="5" sym="A"'
    assert asked(f"<order {everything}/>").echo == (
        ' sym="A" amount="5" limit="2" type="limit" ref="r" tif="IOC" post="false" stp="both"'
    )


@pytest.mark.parametrize("written", ['post="false"', 'TIF="IOC"', 'Ref="a"', 'x:tif="IOC" xmlns:x="u"'])
def test_an_order_that_says_nothing_more_is_a_plain_one(written: str) -> None:
    """False is as if it were not there, and a name in another case is one that nobody knows."""
    request = asked(f"<order {ORDER} {written}/>")
    assert request._replace(echo="") == asked(f"<order {ORDER}/>")._replace(echo="")
    assert request.terms is None


WRONG_TERMS = [
    ('tif="ioc"', "tif 'ioc' is not allowed: it must be GTC, IOC or FOK"),
    ('tif=""', "tif '' is not allowed: it must be GTC, IOC or FOK"),
    ('type="Market"', "type 'Market' is not allowed: it must be limit or market"),
    ('post="1"', "post '1' is not allowed: it must be true or false"),
    ('post="True"', "post 'True' is not allowed: it must be true or false"),
    ('stp="all"', "stp 'all' is not allowed: it must be taker, maker or both"),
    ('ref=""', "ref '' is not allowed: it must be 1 to 64 ASCII letters, digits and . _ - :"),
    ('ref="a b"', "ref 'a b' is not allowed: it must be 1 to 64 ASCII letters, digits and . _ - :"),
    ('ref="a&#10;"', "ref 'a&#10;' is not allowed: it must be 1 to 64 ASCII letters, digits and . _ - :"),
    ('ref="ä"', "ref 'ä' is not allowed: it must be 1 to 64 ASCII letters, digits and . _ - :"),
    ('budget="1e5"', "budget '1e5' is not a number"),
    ('budget="0"', "budget '0' is not allowed: it must be a number above 0"),
    ('budget="5"', "budget is for market orders that buy"),
    ('type="market"', "a market order has no limit"),
    ('post="true" tif="IOC"', "post and tif IOC contradict each other"),
    ('post="true" tif="FOK"', "post and tif FOK contradict each other"),
]


@pytest.mark.parametrize(("written", "says"), WRONG_TERMS)
def test_terms_that_are_wrong(written: str, says: str) -> None:
    assert refusal(f"<order {ORDER} {written}/>").startswith(says)


@pytest.mark.parametrize("length", [1, 64, 65])
def test_a_ref_has_a_length(length: int) -> None:
    child = transaction(f'<order {ORDER} ref="{"r" * length}"/>')
    assert isinstance(child, Request) == (length <= 64)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('amount="5"', "budget is missing: it must be a number above 0"),
        ('amount="-5" budget="5"', "a market order that sells has no budget"),
        ('amount="5" budget="5" tif="GTC"', "a market order never rests"),
        ('amount="5" budget="5" post="true"', "post and type market contradict each other"),
        ('amount="5" budget="5" limit="5"', "a market order has no limit"),
        ('budget="5"', "amount is missing"),
    ],
)
def test_market_orders_that_are_wrong(written: str, says: str) -> None:
    assert refusal(f'<order sym="A" type="market" {written}/>').startswith(says)


def test_a_flag_that_is_false_contradicts_nothing() -> None:
    for written in ('tif="IOC" limit="2"', 'tif="FOK" limit="2"', 'type="market" budget="5"'):
        assert asked(f'<order sym="A" amount="5" post="false" {written}/>').terms is not None


# A rule of orders, one that breaks it, and how the reader would overlook it: by what doesn't reach it.
@pytest.mark.parametrize(
    ("child", "unseen"),
    [
        ('<order sym="A" amount="5" limit="5" type="market" budget="5"/>', "limit"),
        ('<order sym="A" amount="5" type="market" budget="5" tif="GTC"/>', "tif"),
        ('<order sym="A" amount="-5" type="market" budget="5"/>', "budget"),
        (f'<order {ORDER} budget="5"/>', "budget"),
        (f'<order {ORDER} post="true" tif="IOC"/>', "tif"),
        (f'<order {ORDER} post="true" tif="FOK"/>', "post"),
        ('<order sym="A" amount="5" type="market" budget="5" post="true"/>', "post"),
        ('<query id="1" ref="a"/>', "ref"),
        ('<cancel id="1" ref="a"/>', "ref"),
    ],
)
def test_it_is_the_contradiction_that_is_refused(child: str, unseen: str) -> None:
    """The same child without the attribute at fault is understood."""
    assert refusal(child)
    assert isinstance(transaction(re.sub(f' {unseen}="[^"]*"', "", child)), Request)


@pytest.mark.parametrize(
    ("rule", "value", "found_by"),
    [
        ("TIF", "ioc", 'tif="ioc"'),
        ("TYPE", "Market", 'type="Market"'),
        ("STP", "all", 'stp="all"'),
        ("FLAG", "1", 'post="1"'),
        ("REF", "a\n", 'ref="a&#10;"'),
        ("BUDGET", "0", 'budget="0"'),
    ],
)
def test_a_value_that_is_overlooked_is_found(
    monkeypatch: pytest.MonkeyPatch, rule: str, value: str, found_by: str
) -> None:
    assert getattr(fields, rule).problem("name", value)
    right = fields.Field.problem
    monkeypatch.setattr(
        fields.Field,
        "problem",
        lambda self, name, told: (
            None if told == value and self is getattr(fields, rule) else right(self, name, told)
        ),
    )
    overlooked = next(case for case in WRONG_TERMS if case[0] == found_by)
    with pytest.raises(AssertionError):
        test_terms_that_are_wrong(*overlooked)


def test_query_and_cancel_by_ref() -> None:
    query = asked('<query ref="a7"/>')
    assert query == Request(
        "query_order", "7", None, None, None, None, ' ref="a7"', Terms(ref="a7"), ' ref="a7"'
    )
    cancel = asked('<cancel ref="a7"/>')
    assert cancel == query._replace(action="cancel_order")
    for name in ("query", "cancel"):
        assert refusal(f'<{name} id="1" ref="a"/>').startswith("id and ref are both there")
        assert refusal(f"<{name}/>") == "id is missing: it must be an order's id, in decimal digits"
    assert refusal('<cancel all="false"/>').startswith("id is missing")
    assert asked('<cancel id="5" all="false"/>').terms is None
    # What only means something with all has always been ignored without it.
    assert asked('<cancel id="5" sym="?" after="x"/>') == asked('<cancel id="5"/>')


def test_cancel_all() -> None:
    everything = asked('<cancel all="true"/>')
    assert everything == Request("cancel_all", "7", echo=' all="true"', terms=Terms())
    one_symbol = asked('<cancel sym="SPY" all="true"/>')
    assert one_symbol == Request("cancel_all", "7", "SPY", echo=' all="true" sym="SPY"', terms=Terms())
    assert refusal('<cancel all="true" id="5"/>').startswith("all and id contradict each other")
    assert refusal('<cancel all="true" ref="5"/>').startswith("all and ref contradict each other")
    assert refusal('<cancel all="yes"/>') == "all 'yes' is not allowed: it must be true or false"


@pytest.mark.parametrize("seconds", ["1", "60", "060", "86400"])
def test_the_switch_is_armed(seconds: str) -> None:
    request = asked(f'<cancel all="true" after="{seconds}"/>')
    assert (request.action, request.amount, request.order_id) == ("arm_switch", seconds, None)


@pytest.mark.parametrize("zero", ["0", "000"])
def test_the_switch_is_disarmed(zero: str) -> None:
    assert asked(f'<cancel all="true" after="{zero}"/>').action == "disarm_switch"


@pytest.mark.parametrize("seconds", ["", "-1", "+1", "1.5", "86401", "99999", "100000", "9" * 30, "\u0661"])
def test_seconds_that_are_wrong(seconds: str) -> None:
    assert refusal(f'<cancel all="true" after="{seconds}"/>').endswith(
        "is not allowed: it must be a whole number of seconds, 1 to 86,400, or 0 to disarm"
    )
    assert refusal('<cancel all="true" after="5" sym="A"/>').startswith("after and sym contradict each other")


def test_reduce() -> None:
    to = asked('<reduce id="0005" to="30"/>')
    assert (to.action, to.order_id, to.amount, to.terms) == ("reduce_order_to", 5, "30", Terms())
    by = asked('<reduce ref="r" shares="20.5"/>')
    assert (by.action, by.order_id, by.amount, by.terms) == ("reduce_order", None, "20.5", Terms(ref="r"))
    assert asked('<reduce id="5" to="0"/>').amount == "0"
    assert refusal('<reduce id="5" shares="0"/>').startswith("shares '0' is not allowed")
    assert refusal('<reduce id="5" to="-1"/>').startswith("to '-1' is not allowed")
    for wrong in ("", 'to="1" shares="1"'):
        assert refusal(f'<reduce id="5" {wrong}/>').startswith("one of to and shares says by how much")
    assert refusal('<reduce id="5" ref="a" to="1"/>').startswith("id and ref are both there")
    assert refusal('<reduce to="1"/>').startswith("id is missing")


def test_replace() -> None:
    request = asked('<replace amount="80" limit="146" ref="b1" id="5" open="100" stp="taker" tif="GTC"/>')
    assert request == Request(
        "replace_order",
        "7",
        None,
        "80",
        "146",
        5,
        ' amount="80" limit="146" ref="b1" tif="GTC" stp="taker"',
        Terms(ref="b1", tif="GTC", stp="taker", if_open="100"),
        ' id="5" amount="80" limit="146" ref="b1" tif="GTC" stp="taker" open="100"',
    )
    by_ref = asked('<replace of="a7" amount="80" limit="146"/>')
    assert (by_ref.order_id, by_ref.terms) == (None, Terms(of_ref="a7"))
    assert asked('<replace id="5" amount="80" limit="146"/>').terms == Terms()


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('amount="1" limit="1"', "id is missing"),
        ('id="5" of="a" amount="1" limit="1"', "id and of are both there"),
        ('id="5" limit="1"', "amount is missing"),
        ('id="5" amount="1"', "limit is missing"),
        ('id="5" amount="0" limit="1"', "amount '0' is not allowed"),
        ('id="5" amount="1" limit="1" sym="A"', "sym is not for &lt;replace&gt;"),
        ('id="5" amount="1" limit="1" type="limit"', "type is not for &lt;replace&gt;"),
        ('id="5" amount="1" limit="1" budget="1"', "budget is not for &lt;replace&gt;"),
        ('id="5" amount="1" limit="1" post="true" tif="FOK"', "post and tif FOK contradict each other"),
        ('id="5" amount="1" limit="1" open="x"', "open 'x' is not a number"),
        ('id="9999999999999999999" amount="1" limit="1"', "no such order: 9999999999999999999"),
    ],
)
def test_replaces_that_are_wrong(written: str, says: str) -> None:
    assert refusal(f"<replace {written}/>").startswith(says)


def test_looks() -> None:
    assert asked("<account/>") == Request("look_account", "7", terms=Terms())
    assert asked("<orders/>") == Request("list_orders", "7", None, "1000", terms=Terms())
    assert asked('<orders max="5" after="017" sym="A"/>') == Request(
        "list_orders", "7", "A", "5", None, 17, ' sym="A" after="017" max="5"', Terms()
    )
    assert asked(f'<orders after="{"9" * 50}"/>').order_id == 2**63 - 1
    assert asked('<book sym="A"/>') == Request("look_book", "7", "A", "10", None, None, ' sym="A"', Terms())
    assert asked('<book sym="A" depth="1000"/>').amount == "1000"
    assert refusal("<book/>").startswith("sym is missing")
    for wrong in ("0", "1001", "-1", "1.5", "", "1e2"):
        assert refusal(f'<book sym="A" depth="{wrong}"/>').endswith("it must be a whole number, 1 to 1,000")
        assert refusal(f'<orders max="{wrong}"/>').endswith("it must be a whole number, 1 to 1,000")


def test_an_account_of_create_stays_an_error() -> None:
    assert refused(transaction('<account id="5"/>')) == (
        '<error id="5">unknown element &lt;account&gt;: '
        "&lt;transactions&gt; may hold &lt;order&gt;, &lt;query&gt; and &lt;cancel&gt;</error>"
    )
    assert refusal('<account balance="5"/>').startswith("unknown element")
    assert refused(creation("<account/>")).startswith("<error>id is missing")


@pytest.mark.parametrize(
    "root", ['transactions id="1"', "transactions", 'transactions id="?"', "create", 'create codes="true"']
)
def test_the_server_tells_what_it_can_do(root: str) -> None:
    document = f"<{root}><server/></{root.split()[0]}>"
    assert parse(document.encode()).requests == []
    assert reply_to(document) == (
        f'<server version="{__version__}" features="codes ref tif post stp market reduce replace cancel-all '
        'cancel-after account orders book subscribe"/>'
    )


def test_an_error_repeats_what_is_known_of_its_child() -> None:
    unordered = 'x="1" stp="s" post="p" tif="t" ref="r" budget="b" type="y" limit="l" amount="a" sym="s"'
    assert refused(transaction(f"<order {unordered}/>")).startswith(
        '<error sym="s" amount="a" limit="l" type="y" budget="b" ref="r" tif="t" post="p" stp="s">'
    )
    assert refused(transaction(f'<replace {unordered} open="o" of="f" id="i"/>')).startswith(
        '<error id="i" of="f" sym="s" amount="a" limit="l" type="y" budget="b" ref="r" tif="t" post="p" '
        'stp="s" open="o">'
    )
    assert refused(transaction('<cancel after="x" sym="A" all="x" ref="r" id="1"/>')).startswith(
        '<error id="1" ref="r" all="x" sym="A" after="x">'
    )
    assert refused(transaction('<reduce shares="s" to="t" ref="r" id="i"/>')).startswith(
        '<error id="i" ref="r" to="t" shares="s">'
    )
    assert refused(transaction('<orders max="m" after="a" sym="s"/>')).startswith(
        '<error sym="s" after="a" max="m">'
    )


def test_what_becomes_of_an_order_at_once() -> None:
    document = (
        '<transactions id="1"><order sym="A" amount="60" limit="1.0" ref="a7" tif="IOC"/></transactions>'
    )
    results = [
        row("opened", 5),
        row("filled", shares="50.0"),
        row("canceled", shares="10"),
        row("passed", 9),
        row("passed", 12),
        row("duplicate"),
    ]
    assert reply_to(document, results) == (
        '<opened sym="A" amount="60" limit="1.0" ref="a7" tif="IOC" id="5" executed="50" canceled="10" '
        'passed="9 12" duplicate="true"/>'
    )
    document = '<transactions id="1"><replace id="5" amount="80" limit="146" ref="b1"/></transactions>'
    assert reply_to(document, [row("opened", 9, sym="SPY"), row("replaced", 5, "30")]) == (
        '<opened sym="SPY" amount="80" limit="146" ref="b1" id="9" replaced="5" released="30"/>'
    )
    assert reply_to(document, [row("refused", message="no")]) == (
        '<error id="5" amount="80" limit="146" ref="b1">no</error>'
    )


def test_all_that_the_server_adds_comes_in_one_order() -> None:
    everything = 'stp="maker" post="false" tif="IOC" ref="b1" limit="146" amount="80" of="a7"'
    results = [
        row("opened", 9, sym="SPY"),
        row("replaced", 5, "30.0"),
        row("filled", shares="50.50"),
        row("canceled", shares="0.0"),
        row("passed", 7),
        row("duplicate"),
    ]
    assert reply_to(f'<transactions id="1"><replace {everything}/></transactions>', results) == (
        '<opened sym="SPY" amount="80" limit="146" ref="b1" tif="IOC" post="false" stp="maker" id="9" '
        'replaced="5" released="30" executed="50.5" canceled="0" passed="7" duplicate="true"/>'
    )


@pytest.mark.parametrize("document", ['<subscribe sym="?" codes="true"/>', '<subscribe codes="true"/>'])
def test_the_errors_of_a_feed_have_no_codes(document: str) -> None:
    (refused_one,) = [cast("FeedDocument", parse(document.encode())).asked]
    assert isinstance(refused_one, Refusal)
    assert refused_one.code == ""


def test_results_by_ref() -> None:
    document = (
        '<transactions id="1"><query ref="a"/><cancel ref="a"/><reduce ref="a" to="1.50"/></transactions>'
    )
    executed = row("executed", 5, "20", "145.5", 7)
    assert reply_to(
        document,
        [row("open", 5, "60"), row("reduced", 5, "20", None, 6), executed],
        [row("canceled", 5, "60", None, 8), executed],
        [row("reduced", 5, "20.50"), row("open", 5, "1.50")],
    ) == (
        '<status ref="a" id="5"><open shares="60"/><reduced shares="20" time="6"/>'
        '<executed shares="20" price="145.5" time="7"/></status>'
        '<canceled ref="a" id="5"><canceled shares="60" time="8"/>'
        '<executed shares="20" price="145.5" time="7"/></canceled>'
        '<reduced ref="a" id="5" shares="20.5" open="1.5"/>'
    )


def test_results_of_cancel_all() -> None:
    document = (
        '<transactions id="1"><cancel all="true"/><cancel all="true" sym="SPY"/>'
        '<cancel all="true" after="60"/><cancel all="true" after="0"/></transactions>'
    )
    assert reply_to(
        document,
        [row("canceled_all"), row("canceled", 5, "10.0"), row("canceled", 9, "80")],
        [row("canceled_all")],
        [row("armed", at=1795395223)],
        [row("disarmed")],
    ) == (
        '<canceled all="true" count="2"><order id="5" shares="10"/><order id="9" shares="80"/></canceled>'
        '<canceled all="true" sym="SPY" count="0"/>'
        '<armed after="60" time="1795395223"/><disarmed/>'
    )


def test_a_long_list_of_what_was_cancelled() -> None:
    rows = [row("canceled", order_id, "1") for order_id in range(5000)]
    told = reply_to('<transactions id="1"><cancel all="true"/></transactions>', [row("canceled_all"), *rows])
    assert told.startswith('<canceled all="true" count="5000"><order id="0" shares="1"/>')
    assert told.count("<order id=") == 5000


def test_results_of_looks() -> None:
    document = (
        '<transactions id="1"><account/><account/><orders sym="A"/><orders/><book sym="A"/><book sym="A"/>'
        "</transactions>"
    )
    order = row("order", 18, "20", "145.50", 7, sym="SPY", amount="-50.0")
    assert reply_to(
        document,
        [row("account", shares="854.330", amount="0.0")],
        [
            row("account", shares="1", amount="2", at=99),
            row("position", sym="SPY", shares="80", amount="20.00"),
        ],
        [row("orders")],
        [row("orders"), order, order._replace(ref="a7"), row("more")],
        [
            row("book", 812),
            row("bid", shares="300", price="145.50", amount="4"),
            row("ask", None, "1", "9", amount="1"),
        ],
        [row("book", 0), row("halted")],
    ) == (
        '<account cash="854.33" reserved="0"/>'
        '<account cash="1" reserved="2" armed="99"><position sym="SPY" shares="80" reserved="20"/></account>'
        '<orders count="0"/>'
        '<orders count="2" more="true">'
        '<order id="18" sym="SPY" amount="-50" limit="145.5" open="20" time="7"/>'
        '<order id="18" sym="SPY" amount="-50" limit="145.5" open="20" ref="a7" time="7"/></orders>'
        '<book sym="A" seq="812"><bid price="145.5" shares="300" orders="4"/>'
        '<ask price="9" shares="1" orders="1"/></book>'
        '<book sym="A" seq="0" halted="true"/>'
    )


@pytest.mark.parametrize(
    "child",
    [
        f'<order {ORDER} ref="a"/>',
        *('<replace id="5" amount="80" limit="146"/>', '<reduce id="5" to="1"/>', '<query ref="a"/>'),
        *('<cancel all="true"/>', '<cancel all="true" after="5"/>', '<cancel all="true" after="0"/>'),
        *("<account/>", "<orders/>", '<book sym="A"/>'),
    ],
)
def test_an_unforeseen_outcome_is_no_success(child: str) -> None:
    document = f'<transactions id="1">{child}</transactions>'
    for rows in ([row("lost")], [row("opened", 1), row("lost")], [row("armed", at=1), row("lost")]):
        with pytest.raises(ValueError, match=r"unknown outcome"):
            reply_to(document, rows)


def test_codes() -> None:
    document = (
        '<transactions id="1" codes="true"><order sym="?" amount="1" limit="1"/><query id="5"/>'
        f'<query id="6"/><what/><query id="{"9" * 20}"/><order sym="A" amount="1" limit="1"/></transactions>'
    )
    refused_row = row("refused", message="no such order: 5")._replace(code="unknown_order")
    assert reply_to(
        document,
        [refused_row],
        [row("open", 6, "1")],
        [row("failed", message="internal error")._replace(code=None)],
    ) == (
        '<error sym="?" amount="1" limit="1" code="invalid_symbol">sym \'?\' is not allowed: it must be '
        "1 to 255 ASCII letters and digits</error>"
        '<error id="5" code="unknown_order">no such order: 5</error>'
        '<status id="6"><open shares="1"/></status>'
        '<error code="unknown_element">unknown element &lt;what&gt;: &lt;transactions&gt; may hold '
        "&lt;order&gt;, &lt;query&gt; and &lt;cancel&gt;</error>"
        f'<error id="{"9" * 20}" code="unknown_order">no such order: {"9" * 20}</error>'
        '<error sym="A" amount="1" limit="1" code="internal">internal error</error>'
    )
    assert "code=" not in reply_to(document.replace("true", "false"), *[[refused_row]] * 3)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ('<transactions codes="true" id="x"/>', "invalid_account"),
        ('<transactions codes="true" id="x"><order/></transactions>', "invalid_account"),
        ('<create codes="true"><account/></create>', "invalid_account"),
        ('<create codes="true"><what/></create>', "unknown_element"),
        (
            '<create codes="true"><symbol sym="A"><account id="1">x</account></symbol></create>',
            "invalid_amount",
        ),
        ('<create codes="true">', "malformed"),
        ('<?xml version="1.0"?><!-- > --><create a=">" codes=\'&#116;rue\'><a></create>', "malformed"),
        ('<!DOCTYPE create><create codes="true"/>', "malformed"),
        ('<create codes="true"/><create/>', "malformed"),
        (
            """<?xml version="1.0"?><!DOCTYPE a SYSTEM "[>" [<!-- ]> " --><?a ]> '?><!ENTITY e "]>'">]>"""
            """<?a?><create codes="true"><a/></create>""",
            "malformed",
        ),
    ],
)
def test_codes_of_the_gateway(document: str, code: str) -> None:
    assert f' code="{code}">' in reply_to(document)
    assert "code=" not in reply_to(document.replace("codes=", "codex="))


def test_the_code_of_a_document_with_too_much_in_it() -> None:
    large = f'<create codes="true"><account id="1"{" a=" * 200_000}/></create>'
    tags = f'<create codes="true">{"<a/>" * 501_001}</create>'
    children = f'<create codes="true">{"<a/>" * 250_001}</create>'
    for document in (large, tags, children):
        assert re.match('<error code="too_large">the document has more than', reply_to(document))


def test_what_precedes_the_root_is_stepped_over_in_time_that_grows_as_its_length() -> None:
    for hostile in (
        "<!DOCTYPE a [<!-- ",
        '<!DOCTYPE a ["',
        "<!DOCTYPE a [<?",
        "<!DOCTYPE a [ <!-- --",
        "<!DOCTYPE",
    ):
        document = hostile * 20_000 + '<create codes="true"/>'
        started = time.process_time()
        assert "<error>" in reply_to(document)
        assert time.process_time() - started < 1


def test_codes_are_true_or_false() -> None:
    for root in ('transactions id="1"', "create"):
        document = f'<{root} codes="yes"><account id="1" balance="1"/></{root.split()[0]}>'
        assert parse(document.encode()).requests == []
        assert reply_to(document) == "<error>codes 'yes' is not allowed: it must be true or false</error>"


@pytest.mark.parametrize(
    ("children", "is_plain"),
    [
        (f'<order {ORDER}/><query id="1"/><cancel id="1"/>', True),
        (f'<order {ORDER} post="false"/><cancel id="1" all="false"/><what/><server/>', True),
        (f'<order {ORDER}/><order {ORDER} tif="x"/>', True),
        (f'<order {ORDER}/><order {ORDER} ref="x"/>', False),
        (f"<account/><order {ORDER}/>", False),
        ('<query ref="a"/>', False),
    ],
)
def test_a_document_tells_whether_all_its_requests_are_of_the_base_protocol(
    children: str, is_plain: bool
) -> None:
    document = parse(f'<transactions id="7">{children}</transactions>'.encode())
    assert document.is_plain == is_plain
    assert is_plain == all(request.terms is None for request in document.requests)
