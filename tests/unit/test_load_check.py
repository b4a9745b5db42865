"""The check of `pgbourse load --check` finds each way in which an exchange can be wrong, and nothing else."""

import pytest

from pgbourse.loadtest.check import Checker
from pgbourse.loadtest.workload import Template

BUY = '<order sym="X" amount="10" limit="5"/>'
SELL = '<order sym="X" amount="-10" limit="4"/>'
OPENED = {"1": BUY.replace("order", "opened").replace("/>", ' id="1"/>')}
OPENED["2"] = SELL.replace("order", "opened").replace("/>", ' id="2"/>')
FILL = '<executed shares="{}" price="{}" time="1"/>'


def told(checker: Checker, account: str, requests: str, results: str, *, last: bool = False) -> None:
    """Let the checker see a document of this account, and its reply."""
    document = f'<transactions id="{account}">{requests}</transactions>'.encode()
    template = Template.fixed(account, document, 0)
    (checker.saw_status if last else checker.saw)(
        template, document, f"<results>{results}</results>\n".encode()
    )


def check(buy_status: str, sell_status: str) -> list[str]:
    """Return what is found when a buy and a sell of 10 shares have these statuses in the end."""
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    told(checker, "8", SELL, OPENED["2"])
    told(checker, "7", '<query id="1"/>', f'<status id="1">{buy_status}</status>', last=True)
    told(checker, "8", '<query id="2"/>', f'<status id="2">{sell_status}</status>', last=True)
    checker.conclude()
    assert checker.number_of_findings == len(checker.findings)
    return checker.findings


def test_a_right_exchange_passes() -> None:
    assert check(FILL.format(10, 5), FILL.format(10, "5.0")) == []


@pytest.mark.parametrize(
    ("buy_status", "sell_status", "finding"),
    [
        (
            FILL.format(10, 5),
            FILL.format(9, 5) + '<open shares="1"/>',
            "1 shares of X more were bought than sold",
        ),
        (FILL.format(10, 5), FILL.format(10, 4), "10 shares of X more were sold than bought at 4"),
        (FILL.format(10, 6), FILL.format(10, 6), "a buy at 5, executed at 6"),
        (FILL.format(10, 3), FILL.format(10, 3), "a sell at 4, executed at 3"),
        (FILL.format(9, 5), FILL.format(9, 5) + '<open shares="1"/>', "order 1 is for 10 shares: 0 open"),
        ('<open shares="10"/>', '<open shares="10"/>', "open buy at 5 and an open sell at 4"),
        ('<canceled shares="10" time="1"/>', '<open shares="10"/>', "order 1 was not cancelled"),
        ('<open shares="ten"/>', '<open shares="10"/>', "lacks a number"),
    ],
)
def test_a_wrong_exchange_is_found_out(buy_status: str, sell_status: str, finding: str) -> None:
    assert any(finding in found for found in check(buy_status, sell_status))


@pytest.mark.parametrize(
    ("requests", "results", "finding"),
    [
        (BUY + SELL, OPENED["1"], "2 requests got 1 results"),
        (BUY, OPENED["1"].replace('"5"', '"5.0"'), "was answered"),
        (BUY, '<status id="1"/>', "was answered"),
        (BUY, "<opened", "not XML"),
        (BUY, OPENED["1"].replace(' id="1"', ""), "lacks a number"),
        ('<query id="9"/>', '<status id="9"><open shares="1"/></status>', "names no order of this run"),
    ],
)
def test_a_wrong_reply_is_found_out(requests: str, results: str, finding: str) -> None:
    checker = Checker()
    told(checker, "7", requests, results)
    assert len(checker.findings) == 1
    assert finding in checker.findings[0]


def test_an_id_given_twice_is_found_out() -> None:
    checker = Checker()
    told(checker, "7", BUY + BUY, OPENED["1"] + OPENED["1"])
    assert checker.findings == ["two orders have the id 1"]


def test_an_order_that_can_not_be_queried_is_found_out() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    told(checker, "7", '<query id="1"/>', '<error id="1">no such order: 1</error>', last=True)
    assert "was opened and can't be queried" in checker.findings[0]


def test_an_order_without_a_status_in_the_end_is_found_out() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    checker.conclude()
    assert checker.findings == [
        "1 orders got no status at the end: what was bought and sold can't be compared"
    ]


def test_a_refusal_is_no_finding() -> None:
    checker = Checker()
    told(
        checker,
        "7",
        BUY + '<cancel id="9"/>',
        '<error sym="X">no funds</error><error id="9">none open</error>',
    )
    checker.conclude()
    assert checker.findings == []


def test_a_cancel_between_a_query_and_its_reply_is_no_finding() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    canceled = '<canceled shares="10" time="1"/>'
    told(checker, "7", '<cancel id="1"/>', f'<canceled id="1">{canceled}</canceled>')
    told(checker, "7", '<query id="1"/>', '<status id="1"><open shares="10"/></status>')
    told(checker, "7", '<query id="1"/>', f'<status id="1">{canceled}</status>', last=True)
    checker.conclude()
    assert checker.findings == []


def test_fills_that_were_told_and_are_gone_are_found_out() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    told(checker, "7", '<query id="1"/>', f'<status id="1">{FILL.format(10, 5)}</status>')
    told(checker, "7", '<query id="1"/>', '<status id="1"><open shares="10"/></status>', last=True)
    checker.conclude()
    assert checker.findings == ["order 1 was executed, 10 at 5, and its status has that no more"]


def unanswered(*requests: str) -> list[str]:
    """Return what is found if a buy at 5 traded all of its 10 shares, half at 5 and half at 4.

    These requests of another account went unanswered.
    """
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    for request in requests:
        document = f'<transactions id="8">{request}</transactions>'.encode()
        checker.saw_no_reply(Template.fixed("8", document, 1), document)
    status = f'<status id="1">{FILL.format(5, 5)}{FILL.format(5, 4)}</status>'
    told(checker, "7", '<query id="1"/>', status, last=True)
    checker.conclude()
    return checker.findings


@pytest.mark.parametrize(
    "requests",
    [
        [SELL],
        [SELL.replace("X", "Y"), SELL],
        ['<order sym="X" amount="-5" limit="5"/>', '<order sym="X" amount="-5" limit="1"/>'],
        ['<order sym="X" amount="-50" limit="4.00"/><order sym="X" amount="1" limit="1"/>'],
    ],
)
def test_what_was_not_answered_may_be_the_other_side(requests: list[str]) -> None:
    assert unanswered(*requests) == []


@pytest.mark.parametrize(
    ("requests", "finding"),
    [
        ([BUY, SELL.replace("X", "Y"), '<query id="1"/>'], "5 shares of X more were bought than sold at 4"),
        (['<order sym="X" amount="-50" limit="5"/>'], "5 shares of X more were bought than sold at 4"),
        (['<order sym="X" amount="-9" limit="4"/>'], "1 shares of X more were bought than sold at 5"),
        (
            ['<order sym="X" amount="-4" limit="4"/>', '<order sym="X" amount="-50" limit="5"/>'],
            "1 shares of X more were bought than sold at 4",
        ),
        (['<order sym="X" amount="-50" limit="5.01"/>'], "5 shares of X more were bought than sold at 5"),
    ],
)
def test_what_was_not_answered_explains_no_more_than_it_can(requests: list[str], finding: str) -> None:
    assert finding in unanswered(*requests)


def test_unanswered_buys_explain_what_was_sold() -> None:
    for amount, findings in ((10, []), (9, ["1 shares of X more were sold than bought at 4"])):
        checker = Checker()
        told(checker, "8", SELL, OPENED["2"])
        document = (
            f'<transactions id="7"><order sym="X" amount="{amount}" limit="4"/></transactions>'.encode()
        )
        checker.saw_no_reply(Template.fixed("7", document, 1), document)
        told(checker, "8", '<query id="2"/>', f'<status id="2">{FILL.format(10, 4)}</status>', last=True)
        checker.conclude()
        assert checker.findings == findings


@pytest.mark.parametrize("status", ['<open shares="10"/>', '<canceled shares="10" time="1"/>'])
def test_an_unanswered_cancel_may_have_been_done_or_not(status: str) -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    document = b'<transactions id="7"><cancel id="1"/></transactions>'
    checker.saw_no_reply(Template.fixed("7", document, 1), document)
    told(checker, "7", '<query id="1"/>', f'<status id="1">{status}</status>', last=True)
    checker.conclude()
    assert checker.findings == []
    assert checker.unknown_documents == 1


# Orders beyond the base protocol

IOC = '<order sym="X" amount="10" limit="5" ref="a" tif="IOC"/>'
FOK = IOC.replace("IOC", "FOK")
MARKET = '<order sym="X" amount="10" type="market" budget="50"/>'
REPLACE = '<replace id="1" amount="7" limit="3" ref="b"/>'
REPLACED = '<opened sym="X" amount="7" limit="3" ref="b" id="9" replaced="1" released="4"/>'
TOLD = {
    "ioc": IOC.replace("order", "opened").replace("/>", ' id="1" executed="4" canceled="6"/>'),
    "fok": FOK.replace("order", "opened").replace("/>", ' id="1" executed="10" canceled="0"/>'),
    "market": MARKET.replace("order", "opened").replace("/>", ' id="1" executed="4" canceled="6"/>'),
}
CANCELED = '<canceled shares="{}" time="1"/>'
REDUCED = '<reduced shares="{}" time="1"/>'


def found(steps: list[tuple[str, str]], status: str, sold: str = "") -> list[str]:
    """Return what is found when account 7 gets these replies, and order 1 has this status in the end.

    `sold` is what another account's order 2 has executed.
    """
    checker = Checker()
    for request, result in steps:
        told(checker, "7", request, result)
    for order_id, state in (("1", status), ("9", '<open shares="7"/>')):
        if order_id in checker.orders:
            query, result = f'<query id="{order_id}"/>', f'<status id="{order_id}">{state}</status>'
            told(checker, "7", query, result, last=True)
    if sold:
        told(checker, "8", SELL, OPENED["2"])
        told(checker, "8", '<query id="2"/>', f'<status id="2">{sold}</status>', last=True)
    checker.conclude()
    return checker.findings


TO_4 = ('<reduce id="1" to="4"/>', '<reduced id="1" shares="6" open="4"/>')
TO_0 = ('<reduce id="1" to="0"/>', '<reduced id="1" shares="10" open="0"/>')
FOUR = FILL.format(4, 5)


@pytest.mark.parametrize(
    ("steps", "status", "sold"),
    [
        ([(IOC, TOLD["ioc"])], FOUR + CANCELED.format(6), FOUR + '<open shares="6"/>'),
        ([(FOK, TOLD["fok"])], FILL.format(10, 5), FILL.format(10, 5)),
        (
            [(MARKET, TOLD["market"])],
            FILL.format(4, "12.5") + CANCELED.format(6),
            FILL.format(4, "12.5") + '<open shares="6"/>',
        ),
        ([(BUY, OPENED["1"]), TO_4], REDUCED.format(6) + '<open shares="4"/>', ""),
        ([(BUY, OPENED["1"]), TO_0], CANCELED.format(10), ""),
        (
            [(BUY, OPENED["1"]), (REPLACE, REPLACED)],
            FILL.format(6, 5) + CANCELED.format(4),
            FILL.format(6, 5) + '<open shares="4"/>',
        ),
    ],
)
def test_right_answers_about_other_kinds_pass(steps: list[tuple[str, str]], status: str, sold: str) -> None:
    assert found(steps, status, sold) == []


@pytest.mark.parametrize(
    ("steps", "status", "finding"),
    [
        ([(IOC, TOLD["ioc"])], FOUR + '<open shares="6"/>', "order 1 was cancelled: see its status"),
        (
            [(IOC, TOLD["ioc"])],
            FILL.format(3, 5) + CANCELED.format(7),
            "had 6 shares cancelled, and 7 by its status",
        ),
        (
            [(IOC, TOLD["ioc"])],
            FILL.format(10, 5),
            "which doesn't rest, had 4 shares executed at once: 10 are, 0 open",
        ),
        ([(IOC, TOLD["ioc"])], FILL.format(4, 6) + CANCELED.format(6), "a buy at 5, executed at 6"),
        (
            [(FOK, TOLD["ioc"].replace("IOC", "FOK"))],
            FOUR + CANCELED.format(6),
            "filled or refused, and 4 were",
        ),
        ([(IOC, TOLD["ioc"].replace(' ref="a"', ""))], FOUR + CANCELED.format(6), "was answered"),
        (
            [(MARKET, TOLD["market"])],
            FILL.format(4, 13) + CANCELED.format(6),
            "has a budget of 50, and spent 52",
        ),
        (
            [(BUY, OPENED["1"]), (REPLACE, REPLACED)],
            '<open shares="10"/>',
            "order 1 was cancelled: see its status",
        ),
        (
            [(BUY, OPENED["1"]), (REPLACE, REPLACED)],
            CANCELED.format(10),
            "had 4 shares cancelled, and 10 by its status",
        ),
        (
            [(BUY, OPENED["1"]), (REPLACE, REPLACED.replace('"X"', '"Y"'))],
            CANCELED.format(4),
            "replaced another than it should: 1",
        ),
        (
            [(BUY, OPENED["1"]), (REPLACE, REPLACED.replace('replaced="1"', ""))],
            CANCELED.format(4),
            "names no order of this run",
        ),
        ([(BUY, OPENED["1"]), TO_4], '<open shares="10"/>', "was reduced by 6, and by 0 by its status"),
        ([(BUY, OPENED["1"]), TO_0], REDUCED.format(10), "order 1 was cancelled: see its status"),
        (
            [(BUY, OPENED["1"])],
            REDUCED.format(6) + '<open shares="4"/>',
            "was reduced by 0, and by 6 by its status",
        ),
        (
            [(BUY, OPENED["1"])],
            REDUCED.format(6) + '<open shares="5"/>',
            "order 1 is for 10 shares: 5 open, 6 cancelled",
        ),
    ],
)
def test_wrong_answers_about_other_kinds_are_found_out(
    steps: list[tuple[str, str]], status: str, finding: str
) -> None:
    assert any(finding in line for line in found(steps, status)), found(steps, status)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("request_", "status", "passes"),
    [
        ('<cancel id="1"/>', CANCELED.format(10), True),
        ('<cancel all="true" sym="X"/>', CANCELED.format(10), True),
        ('<order sym="X" amount="-1" limit="1" ref="c" stp="maker"/>', CANCELED.format(10), True),
        ('<order sym="X" amount="-1" limit="1" ref="c" stp="taker"/>', CANCELED.format(10), False),
        ('<cancel all="true" after="9"/>', CANCELED.format(10), False),
        (REPLACE, CANCELED.format(10), True),
        ('<reduce id="1" to="4"/>', REDUCED.format(6) + '<open shares="4"/>', True),
        ('<reduce id="1" to="4"/>', CANCELED.format(10), False),
        ('<query id="1"/>', REDUCED.format(6) + '<open shares="4"/>', False),
    ],
)
def test_what_was_not_answered_the_first_time_may_have_been_done_then(
    request_: str, status: str, passes: bool, again: bool
) -> None:
    """Its answer the second time, if it was sent again, can't tell."""
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    document = f'<transactions id="7">{request_}</transactions>'.encode()
    template = Template.fixed("7", document, 1)
    (checker.saw_resent if again else checker.saw_no_reply)(template, document)
    told(checker, "7", '<query id="1"/>', f'<status id="1">{status}</status>', last=True)
    checker.conclude()
    assert (checker.findings == []) == passes
    assert checker.unknown_documents == (0 if again else 1)


@pytest.mark.parametrize(
    ("request_", "findings"),
    [
        ('<order sym="X" amount="-10" type="market"/>', []),
        (
            '<order sym="X" amount="10" type="market" budget="9"/>',
            ["10 shares of X more were bought than sold at 4"],
        ),
        ('<replace id="3" amount="-10" limit="4"/>', []),
    ],
)
def test_other_kinds_that_were_not_answered_may_be_the_other_side(request_: str, findings: list[str]) -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    told(checker, "8", SELL.replace('"4"', '"90"'), OPENED["2"].replace('"4"', '"90"').replace('"2"', '"3"'))
    document = f'<transactions id="8">{request_}</transactions>'.encode()
    checker.saw_no_reply(Template.fixed("8", document, 1), document)
    told(checker, "7", '<query id="1"/>', f'<status id="1">{FILL.format(10, 4)}</status>', last=True)
    told(checker, "8", '<query id="3"/>', '<status id="3"><open shares="10"/></status>', last=True)
    checker.conclude()
    assert checker.findings == findings


# What tells of several orders

STP = '<order sym="X" amount="-10" limit="4" stp="{}"/>'
TAKER = STP.format("taker").replace("order", "opened").replace("/>", ' id="2" executed="4" canceled="6"/>')
MAKER = (
    STP.format("maker")
    .replace("order", "opened")
    .replace("/>", ' id="2" executed="4" canceled="0" passed="1"/>')
)
ALL = ('<cancel all="true"/>', '<canceled all="true" count="1"><order id="1" shares="10"/></canceled>')
OF_X = tuple(text.replace("true", 'true" sym="X') for text in ALL)
LIST = '<orders max="1"/>'
LISTED = '<orders count="1"><order id="1" sym="X" amount="10" limit="5.0" open="10" time="1"/></orders>'
GONE = CANCELED.format(10)
RESTS = '<open shares="10"/>'


def told_of_several(*steps: tuple[str, str], **statuses: str) -> list[str]:
    """Return what is found when account 7 gets these replies after a buy, and its orders end so."""
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    for request, result in steps:
        told(checker, "7", request, result)
    for name, status in statuses.items():
        order_id = name.removeprefix("order_")
        if order_id in checker.orders:
            query, result = f'<query id="{order_id}"/>', f'<status id="{order_id}">{status}</status>'
            told(checker, "7", query, result, last=True)
    # Account 8 has the other side.
    told(checker, "8", BUY, OPENED["1"].replace('id="1"', 'id="3"'))
    bought = FOUR if "2" in checker.orders else ""
    rest = CANCELED.format(6 if bought else 10)
    told(checker, "8", '<cancel id="3"/>', f'<canceled id="3">{rest}{bought}</canceled>')
    told(checker, "8", '<query id="3"/>', f'<status id="3">{rest}{bought}</status>', last=True)
    checker.conclude()
    return checker.findings


SOLD = FOUR + '<open shares="6"/>'
CUT = FOUR + CANCELED.format(6)


@pytest.mark.parametrize(
    ("steps", "first", "second"),
    [
        ([(STP.format("taker"), TAKER)], RESTS, CUT),
        ([(STP.format("maker"), MAKER)], GONE, SOLD),
        (
            [(STP.format("maker"), MAKER), ('<cancel id="2"/>', f'<canceled id="2">{CUT}</canceled>')],
            GONE,
            CUT,
        ),
        ([ALL], GONE, ""),
        ([OF_X, (ALL[0], '<canceled all="true" count="0"/>')], GONE, ""),
        ([(LIST, LISTED), ALL], GONE, ""),
        ([('<cancel all="true" after="9"/>', '<armed after="9" time="1"/>')], RESTS, ""),
        ([('<cancel all="true" after="0"/>', "<disarmed/>")], RESTS, ""),
    ],
)
def test_right_answers_that_tell_of_several_orders_pass(
    steps: list[tuple[str, str]], first: str, second: str
) -> None:
    assert told_of_several(*steps, order_1=first, order_2=second) == []


@pytest.mark.parametrize(
    ("steps", "first", "second", "finding"),
    [
        # What the status says is another thing.
        ([(STP.format("taker"), TAKER)], RESTS, SOLD, "order 2 was cancelled: see its status"),
        ([(STP.format("maker"), MAKER)], RESTS, SOLD, "order 1 was cancelled: see its status"),
        (
            [(STP.format("maker"), MAKER)],
            GONE,
            '<open shares="10"/>',
            "order 2 had 4 shares executed at once",
        ),
        ([(STP.format("maker"), MAKER.replace(' passed="1"', ""))], GONE, SOLD, "order 1 was not cancelled"),
        ([ALL], RESTS, "", "order 1 was cancelled: see its status"),
        ([ALL], CANCELED.format(9) + REDUCED.format(1), "", "order 1 had 10 shares cancelled, and 9"),
        ([(ALL[0], '<canceled all="true" count="0"/>')], GONE, "", "order 1 was not cancelled"),
        ([ALL, ALL], GONE, "", "order 1 was cancelled twice"),
        ([(STP.format("maker"), MAKER), ALL], GONE, SOLD, "order 1 was cancelled twice"),
        # An order of somebody else, or of nobody.
        (
            [(ALL[0], ALL[1].replace('id="1"', 'id="3"'))],
            RESTS,
            "",
            "order 3 was cancelled or listed as one of 7",
        ),
        (
            [(ALL[0], ALL[1].replace('id="1"', 'id="9"'))],
            RESTS,
            "",
            "order 9 was cancelled or listed as one of 7",
        ),
        (
            [(LIST, LISTED.replace('id="1"', 'id="9"'))],
            RESTS,
            "",
            "order 9 was cancelled or listed as one of 7",
        ),
        (
            [(LIST, LISTED.replace('amount="10"', 'amount="-10"'))],
            RESTS,
            "",
            "order 1 was listed as another one",
        ),
        ([(LIST, LISTED.replace('"5.0"', '"5.1"'))], RESTS, "", "order 1 was listed as another one"),
        ([(OF_X[0].replace("X", "Y"), OF_X[1].replace("X", "Y"))], GONE, "", "was cancelled with those of Y"),
        # The answer is another one.
        (
            [(ALL[0], ALL[1].replace('count="1"', 'count="2"'))],
            GONE,
            "",
            "another number of orders than it has",
        ),
        ([(OF_X[0], ALL[1])], GONE, "", "was answered"),
        ([('<cancel all="true" after="9"/>', '<armed after="8" time="1"/>')], RESTS, "", "was answered"),
        ([('<cancel all="true" after="9"/>', '<armed after="9"/>')], RESTS, "", "lacks a number"),
        ([('<cancel all="true" after="0"/>', '<canceled all="true" count="0"/>')], RESTS, "", "was answered"),
        ([("<account/>", "<orders/>")], RESTS, "", "was answered"),
        ([("<account/>", '<account cash="1"/>')], RESTS, "", "lacks a number"),
    ],
)
def test_wrong_answers_that_tell_of_several_orders_are_found_out(
    steps: list[tuple[str, str]], first: str, second: str, finding: str
) -> None:
    found_out = told_of_several(*steps, order_1=first, order_2=second)
    assert any(finding in line for line in found_out), found_out


def test_an_order_that_nobody_was_told_of_may_be_cancelled_with_others() -> None:
    checker = Checker()
    document = f'<transactions id="7">{BUY}</transactions>'.encode()
    checker.saw_no_reply(Template.fixed("7", document, 1), document)
    told(checker, "7", *ALL)
    told(checker, "7", LIST, LISTED)
    checker.conclude()
    assert checker.findings == []


ACCOUNT = (
    '<account cash="1" reserved="0"><position sym="B" shares="1" reserved="0"/>'
    '<position sym="a" shares="0" reserved="2"/></account>'
)
BOOK = (
    '<book sym="X" seq="1"><bid price="5" shares="1" orders="1"/><bid price="4" shares="1" orders="1"/>'
    '<ask price="6" shares="1" orders="1"/><ask price="7" shares="1" orders="1"/></book>'
)
TWO = (
    '<orders count="2" more="true"><order id="1" sym="X" amount="10" limit="5" open="10" time="1"/>'
    '<order id="4" sym="X" amount="-10" limit="6" open="1" time="1"/></orders>'
)


@pytest.mark.parametrize(
    ("request_", "result"),
    [("<account/>", ACCOUNT), ('<book sym="X" depth="2"/>', BOOK), ('<orders sym="X" max="2"/>', TWO)],
)
def test_right_looks_pass(request_: str, result: str) -> None:
    checker = Checker()
    told(checker, "7", request_, result)
    assert checker.findings == []


@pytest.mark.parametrize(
    ("request_", "right", "old", "new", "finding"),
    [
        ("<account/>", ACCOUNT, 'cash="1"', 'cash="-1"', "less than no cash"),
        ("<account/>", ACCOUNT, 'reserved="2"', 'reserved="0"', "a position of nothing"),
        (
            "<account/>",
            ACCOUNT,
            'shares="0" reserved="2"',
            'shares="-1" reserved="2"',
            "a position of nothing",
        ),
        ("<account/>", ACCOUNT, '"a"', '"A"', "another order than that of their symbols"),
        ('<orders max="2"/>', TWO, 'count="2"', 'count="3"', "another number of orders"),
        ('<orders max="1"/>', TWO, ' more="true"', "", "more than 1"),
        ('<orders max="3"/>', TWO, "", "", "there is room for them"),
        ('<orders max="2"/>', TWO, 'id="4"', 'id="1"', "another order than that of their ids"),
        ('<orders sym="Y" max="2"/>', TWO, '"X" amount="10"', '"Y" amount="10"', "orders of another symbol"),
        ('<orders max="2"/>', TWO, 'open="1"', 'open="11"', "more than it is for"),
        ('<orders max="2"/>', TWO, 'open="1"', 'open="0"', "nothing open"),
        ('<book sym="X" depth="2"/>', BOOK, 'bid price="4"', 'bid price="5"', "don't stand best first"),
        ('<book sym="X" depth="2"/>', BOOK, 'ask price="7"', 'ask price="5.5"', "don't stand best first"),
        ('<book sym="X" depth="2"/>', BOOK, 'bid price="5"', 'bid price="6"', "which should match"),
        ('<book sym="X" depth="1"/>', BOOK, "", "", "more prices than were asked for"),
        (
            '<book sym="X" depth="2"/>',
            BOOK,
            'shares="1" orders="1"/></book>',
            'shares="0" orders="1"/></book>',
            "a price with nothing at it",
        ),
    ],
)
def test_wrong_looks_are_found_out(request_: str, right: str, old: str, new: str, finding: str) -> None:
    checker = Checker()
    told(checker, "7", request_, right.replace(old, new) if old else right)
    assert any(finding in found for found in checker.findings), checker.findings
