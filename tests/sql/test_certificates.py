"""process_batch for certified clients: a name may do what the tables say, at each batch, and nothing else."""

import random

import psycopg
import pytest

from tests.sql.asking import parse
from tests.sql.market import Answer, Connection, Market, Request, replace, wrap
from tests.sql.trading import random_batch

CREATIONS = (
    Request("create_account", "7", amount="100"),
    Request("create_symbol", sym="NEW"),
    Request("grant_shares", "1", "X", amount="5"),
)


@pytest.fixture
def bound(market: Market) -> Market:
    """Accounts 1, 2 and 3 with cash and shares: ann may act for 1 and 2, bob for 3; root is an operator."""
    for account in ("1", "2", "3"):
        market.account(account, 10_000_000)
        market.grant(account, "X", 100)
    bind(market, ("ann", "1"), ("ann", "2"), ("bob", "3"))
    market.connection.execute("insert into exchange.certificate_operators (certificate_name) values ('root')")
    return market


def bind(market: Market, *pairs: tuple[str, str]) -> None:
    for pair in pairs:
        market.connection.execute(
            "insert into exchange.certificate_accounts (certificate_name, account_id) values (%s, %s)", pair
        )


def outcomes(answers: list[list[Answer]]) -> list[str]:
    """What came of each request: the code of its refusal, or its first outcome."""
    return [rows[0].code or rows[0].outcome for rows in answers]


def order(account: str, sequence: int = 1, amount: str = "1", limit: str = "1") -> Request:
    return Request("place_order", account, "X", amount, limit, sequence=sequence)


def ask(market: Market, certificate: str | None, *requests: Request) -> list[str]:
    return outcomes(market.batch(requests, [certificate] * len(requests)))


def test_a_bound_name_acts_for_its_accounts(bound: Market) -> None:
    assert ask(bound, "ann", order("1"), order("2")) == ["opened", "opened"]
    for account, order_id in (("1", 1), ("2", 2)):
        requests = [Request(action, account, order_id=order_id) for action in ("query_order", "cancel_order")]
        assert ask(bound, "ann", *requests) == ["open", "canceled"]


def test_a_bound_name_does_nothing_for_others(bound: Market) -> None:
    placed = bound.place("3", "X", 1, 1)
    requests = [order("3"), Request("query_order", "3", order_id=placed)]
    assert (
        ask(bound, "ann", *requests, Request("cancel_order", "3", order_id=placed)) == ["not_permitted"] * 3
    )
    assert bound.query("3", placed) == ["open 1"]
    assert bound.cash("3") == "9999999"


def test_a_bound_name_makes_no_money(bound: Market) -> None:
    assert ask(bound, "ann", *CREATIONS) == ["not_permitted"] * 3
    tables = "select (select count(*) from exchange.accounts), (select count(*) from exchange.symbols)"
    assert bound.connection.execute(tables).fetchone() == (3, 1)
    assert bound.shares("1", "X") == "100"


def test_an_operator_may_do_everything(bound: Market) -> None:
    assert ask(bound, "root", *CREATIONS, order("3"), order("7")) == ["created"] * 3 + ["opened"] * 2


@pytest.mark.parametrize("name", ["eve", "ANN", "Root", "ann ", "", None, "ann'; --"])
def test_a_name_without_a_row_does_nothing(bound: Market, name: str | None) -> None:
    requests = [*CREATIONS, order("1"), order("3"), Request("query_order", "1", order_id=1)]
    assert ask(bound, name, *requests) == ["not_permitted"] * 6


def test_no_names_are_nobodys(bound: Market) -> None:
    assert outcomes(bound.batch([order("1"), *CREATIONS], [])) == ["not_permitted"] * 4


def test_an_unknown_or_missing_action_is_permitted_to_none_but_operators(bound: Market) -> None:
    for action in ("settle_account", None):
        request = Request(action, "1")  # type: ignore[arg-type]
        assert ask(bound, "ann", request) == ["not_permitted"]
        with pytest.raises(psycopg.Error, match="unknown action"):
            ask(bound, "root", request)


BEYOND = (
    "{} replace 1 1 2",
    "{} reduce 2 to=1",
    "{} reduce 2 shares=1",
    "{} order X 1 1 ref=a7 tif=IOC",
    "{} query ref=a7",
    "{} cancel ref=a7",
    "{} cancel-all",
    "{} arm 60",
    "{} disarm",
    "{} account",
    "{} list_orders",
)


def beyond(market: Market, certificate: str | None, account: str) -> list[str]:
    """Ask for everything that the base protocol lacks; return what came of it."""
    requests = [parse(words.format(account)) for words in BEYOND]
    return ask(market, certificate, *requests, Request("look_book", account, "X"))


def what_is_beyond_the_base_protocol(bound: Market) -> None:
    bound.place("1", "X", 1, 1)
    assert beyond(bound, "bob", "1") == ["not_permitted"] * 12
    assert beyond(bound, None, "1") == ["not_permitted"] * 12
    assert ask(bound, "ann", parse("1 fire")) == ["not_permitted"]
    assert bound.query("1", 1) == ["open 1"]
    done = ["opened", "reduced", "reduced", "opened", "canceled", "nothing_open"]
    done += ["canceled_all", "armed", "disarmed", "account", "orders", "book"]
    assert beyond(bound, "ann", "1") == done
    bound.connection.execute("delete from exchange.certificate_accounts")
    assert beyond(bound, "ann", "1") == ["not_permitted"] * 12
    assert ask(bound, "root", parse("1 account"), Request("look_book", "3", "X")) == ["account", "book"]


def test_a_bound_name_may_do_all_of_it_for_its_accounts(bound: Market) -> None:
    what_is_beyond_the_base_protocol(bound)


@pytest.mark.parametrize(
    "action",
    [
        "replace_order",
        "reduce_order",
        "reduce_order_to",
        "cancel_all",
        "arm_switch",
        "disarm_switch",
        "fire_switch",
        "look_account",
        "list_orders",
        "look_book",
    ],
)
@pytest.mark.parametrize("is_permitted", ["true", "false"])
def test_an_action_with_another_rule_is_found(bound: Market, action: str, is_permitted: str) -> None:
    if (action, is_permitted) == ("fire_switch", "false"):
        pytest.skip("that is the rule")
    wrap(
        bound.connection,
        "certificate_may",
        f"begin if p_action = '{action}' then return query select {is_permitted}; "
        "else return query select * from {call}; end if; end",
    )
    with pytest.raises(AssertionError):
        what_is_beyond_the_base_protocol(bound)


def test_a_refusal_says_what_is_wrong_and_not_whether_there_is_such_an_account(bound: Market) -> None:
    requests = [order("3"), order("12345"), CREATIONS[0]]
    messages = [rows[0].message for rows in bound.batch(requests, ["ann"] * 3)]
    words = "the certificate of ann may not act for account {}: only for the accounts that it is bound to"
    assert messages == [
        words.format("3"),
        words.format("12345"),
        "the certificate of ann may not create accounts, symbols or shares: only that of an operator may",
    ]


def test_a_binding_may_come_before_its_account(bound: Market) -> None:
    bind(bound, ("carl", "9"))
    assert ask(bound, "carl", order("9")) == ["unknown_account"]
    bound.account("9", 10)
    assert ask(bound, "carl", order("9")) == ["opened"]


def test_revocation_acts_on_the_next_batch(bound: Market) -> None:
    """In a session whose plans were made long before."""
    for _ in range(10):
        assert ask(bound, "ann", order("1")) == ["opened"]
        assert ask(bound, "root", CREATIONS[2]) == ["created"]
    bound.connection.execute("delete from exchange.certificate_accounts where account_id = '1'")
    bound.connection.execute("delete from exchange.certificate_operators")
    assert ask(bound, "ann", order("1"), order("2")) == ["not_permitted", "opened"]
    assert ask(bound, "root", CREATIONS[2], order("3")) == ["not_permitted", "not_permitted"]


def test_each_request_of_a_mixed_batch_is_its_own_clients(bound: Market) -> None:
    placed = bound.place("3", "X", -5, 50)
    requests = [
        order("1", 1),
        order("3", 2),
        order("3", 3),
        Request("query_order", "3", order_id=placed, sequence=3),
        Request("query_order", "3", order_id=placed, sequence=1),
        Request("create_account", "4", amount="5", sequence=4),
        Request("create_account", "5", amount="5", sequence=2),
        order("4", 4),
        order("3", 5),
    ]
    names = ["ann", "ann", "bob", "bob", "ann", "root", "bob", "root", None]
    answers = bound.batch(requests, names)
    assert outcomes(answers) == [
        "opened",
        "not_permitted",
        "opened",
        "open",
        "not_permitted",
        "created",
        "not_permitted",
        "opened",
        "not_permitted",
    ]
    assert [rows[0].order_id for rows in answers if rows[0].outcome == "opened"] == [2, 3, 4]
    assert bound.violations() == []


def test_parts_of_an_order_keep_their_order_behind_a_refusal(bound: Market) -> None:
    sold = bound.place("1", "X", -9, 2)
    for limit in (4, 3, 2):
        bound.place("3", "X", 2, limit)
    requests = [order("3"), Request("cancel_order", "1", order_id=sold)]
    rows = bound.batch(requests, ["ann", "ann"])[1]
    assert [row.outcome for row in rows] == ["canceled", "executed", "executed", "executed"]
    assert {row.request for row in rows} == {2}


NAMES = ["ann", "bob", "root", "eve", None]
RIGHTS = {("ann", "1"), ("ann", "2"), ("bob", "3")}


def is_permitted(name: str | None, request: Request) -> bool:
    return name == "root" or (
        (request.order_id is not None or request.limit is not None)
        and (
            name,
            request.account,
        )
        in RIGHTS
    )


def play(market: Market, batches: int = 12) -> None:
    """Compare random batches with what is said, without names, to the part that is permitted."""
    chance = random.Random(7)
    for account in ("1", "2", "3"):
        market.grant(account, "S1", 100_000)
    market.place("1", "S1", 1, 1)
    parts = 0
    market.connection.execute("begin")
    for number in range(batches):
        requests = [
            request._replace(sequence=place % 20)
            for place, request in enumerate(random_batch(chance, 40, 4, 1, number * 15))
        ]
        names = [chance.choice(NAMES) for _ in requests]
        places = [
            place for place, pair in enumerate(zip(names, requests, strict=True)) if is_permitted(*pair)
        ]
        market.connection.execute("savepoint before")
        expected = dict(zip(places, market.batch([requests[place] for place in places]), strict=True))
        market.connection.execute("rollback to before")
        market.connection.execute(
            "select setval('exchange.order_ids', (select max(order_id) from exchange.orders))"
        )
        for place, answered in enumerate(market.batch(requests, names)):
            # A second may have passed between the two.
            rows = [row._replace(at=None) for row in answered]
            wanted = [row._replace(request=place + 1, at=None) for row in expected.get(place, [])]
            if place not in expected:
                assert outcomes([rows]) == ["not_permitted"]
            else:
                assert rows == wanted
                parts += len(rows) > 2
    market.connection.execute("commit")
    assert parts, "no order was ever filled twice"
    assert market.violations() == []


def test_what_is_permitted_is_carried_out_as_if_nothing_else_had_been_asked(bound: Market) -> None:
    play(bound)


RULE = """
select {operator} or (({action}) is true and {account})
"""
RIGHT = {
    "operator": "exists (select from exchange.certificate_operators "
    "where certificate_name = p_certificate_name)",
    "action": "p_action in ('place_order', 'query_order', 'cancel_order')",
    "account": "exists (select from exchange.certificate_accounts "
    "where certificate_name = p_certificate_name and account_id = p_account_id)",
}
BOUND = "exists (select from exchange.certificate_accounts where certificate_name = p_certificate_name)"

# What certificate_may could get wrong.
RULES = {
    "the right one": RIGHT,
    "everybody": {"operator": "true"},
    "bound to all": {"account": BOUND},
    "bound names create": {"action": "true"},
    "no operators": {"operator": "false"},
    "bound by account alone": {
        "account": "exists (select from exchange.certificate_accounts where account_id = p_account_id)"
    },
}


@pytest.mark.parametrize("rule", RULES)
def test_a_mutated_rule_is_found(bound: Market, rule: str) -> None:
    replace(bound.connection, "certificate_may", RULE.format(**(RIGHT | RULES[rule])), "sql")
    if rule == "the right one":
        play(bound)
    else:
        with pytest.raises(AssertionError):
            play(bound)


# The requests of a batch, in step with themselves in another order.
CROOKED = """
    begin
        p_requests := array(
            select (
                asked.sequence, asked.action, {account}.account_id, asked.sym, asked.amount,
                asked.limit_price, asked.order_id, {name}.certificate_name, asked.terms
            )::exchange.request
            from unnest(p_requests) with ordinality as asked (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name,
                terms, place
            )
            left join unnest(p_requests) with ordinality as other (
                sequence, action, account_id, sym, amount, limit_price, order_id, certificate_name,
                terms, place
            ) on other.place = asked.place - 1
            order by asked.place
        );
        return {call};
    end
"""

# What process_batch could do with names, and with answers: which function, and how.
WRAPPED = {
    "names shifted by one": (
        "mark_forbidden",
        CROOKED.replace("{account}", "asked").replace("{name}", "other"),
    ),
    "accounts out of step": (
        "mark_forbidden",
        CROOKED.replace("{account}", "other").replace("{name}", "asked"),
    ),
    "answers out of place": (
        "process_batch",
        """
        begin
            return query
            select
                dense_rank() over (
                    partition by code is distinct from 'not_permitted' order by request
                )::integer,
                outcome, order_id, shares, price, at, code, message, sym, amount, ref
            from {call};
        end
        """,
    ),
    "parts in any order": (
        "process_batch",
        """
        begin
            return query
            select request, outcome, order_id, shares, price, at, code, message, sym, amount, ref
            from {call} with ordinality
            order by request, case when p_certified then -ordinality else ordinality end;
        end
        """,
    ),
}


@pytest.mark.parametrize("mutant", WRAPPED)
def test_a_mutated_batch_is_found(bound: Market, mutant: str) -> None:
    wrap(bound.connection, *WRAPPED[mutant])
    with pytest.raises(AssertionError):
        play(bound)


def test_only_printable_names_and_digits_can_be_bound(connection: Connection) -> None:
    for table, values in (
        ("certificate_accounts (certificate_name, account_id)", "('ann\n', '1')"),
        ("certificate_accounts (certificate_name, account_id)", "('', '1')"),
        ("certificate_accounts (certificate_name, account_id)", "('ann', '1 ')"),
        ("certificate_operators (certificate_name)", "('M\u00fcller')"),
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(f"insert into exchange.{table} values {values}".encode())
