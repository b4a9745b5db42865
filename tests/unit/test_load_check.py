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
    checker.conclude(whole=True)
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
    checker.conclude(whole=True)
    assert checker.findings == ["1 orders got no status at the end"]


def test_a_refusal_is_no_finding() -> None:
    checker = Checker()
    told(
        checker,
        "7",
        BUY + '<cancel id="9"/>',
        '<error sym="X">no funds</error><error id="9">none open</error>',
    )
    checker.conclude(whole=True)
    assert checker.findings == []


def test_a_cancel_between_a_query_and_its_reply_is_no_finding() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    canceled = '<canceled shares="10" time="1"/>'
    told(checker, "7", '<cancel id="1"/>', f'<canceled id="1">{canceled}</canceled>')
    told(checker, "7", '<query id="1"/>', '<status id="1"><open shares="10"/></status>')
    told(checker, "7", '<query id="1"/>', f'<status id="1">{canceled}</status>', last=True)
    checker.conclude(whole=True)
    assert checker.findings == []


def test_after_unanswered_documents_sides_are_not_compared() -> None:
    checker = Checker()
    told(checker, "7", BUY, OPENED["1"])
    told(checker, "7", '<query id="1"/>', f'<status id="1">{FILL.format(10, 5)}</status>', last=True)
    checker.conclude(whole=False)
    assert checker.findings == ["documents went unanswered: what was bought and sold can't be compared"]
