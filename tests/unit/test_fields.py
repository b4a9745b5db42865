"""Number, account id, sym, order id: what is allowed, and what a client is told that wrote something else."""

import pytest

from pgbourse.wire.messages import Request
from tests.unit.documents import creation, one, refused, transaction

NUMBERS = (
    *("1", "+1", "0001", "1.5", "1.10", "0." + "0" * 19 + "1", "9" * 18, "9" * 18 + "." + "9" * 20),
    # %.17g and the shortest text of a double: everyday prices
    *("618.70666885082926", "0.10000000000000001", "145.66999999999999", "0.0001"),
)
NOT_NUMBERS = (
    *("", " ", "1 ", " 1", "+", "-", ".", "1.", ".5", "--1", "+-1", "1e5", "1E5", "1_000", "1,5"),
    *("0x1", "NaN", "nan", "Infinity", "-inf", "1.2.3", "1" + "0" * 18, "0." + "0" * 20 + "1", "1\u00a0"),
    *(
        "\u0661",
        "\uff11",
        "\u00b2",
        "one",
        "None",
        "1 1",
        "1\t",
        "1\n",
        "-1e5",
        "NULL",
        "1&quot;",
        "1'",
        "1&amp;",
    ),
)


@pytest.mark.parametrize("value", NUMBERS)
def test_numbers(value: str) -> None:
    order = transaction(f'<order sym="A" amount="{value}" limit="{value}"/>')
    assert isinstance(order, Request)
    assert (order.amount, order.limit) == (value, value)
    account = creation(f'<account id="1" balance="{value}"/>')
    assert isinstance(account, Request)
    assert account.amount == value
    grant = creation(f'<symbol sym="A"><account id="1">\n {value}\t\r\n</account></symbol>')
    assert isinstance(grant, Request)
    assert grant.amount == value


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_anything_else_is_no_number(value: str) -> None:
    says = "is not a number: it must be digits with an optional sign and point, at most 18 before and 20"
    assert says in refused(transaction(f'<order sym="A" amount="{value}" limit="1"/>'))
    assert says in refused(transaction(f'<order sym="A" amount="1" limit="{value}"/>'))
    assert says in refused(creation(f'<account id="1" balance="{value}"/>'))
    if value.strip(" \t\n") not in NUMBERS:
        assert says in refused(creation(f'<symbol sym="A"><account id="1">{value}</account></symbol>'))


@pytest.mark.parametrize("zero", ["0", "+0", "-0", "0.0", "000.000"])
def test_zero(zero: str) -> None:
    account = creation(f'<account id="1" balance="{zero}"/>')
    assert isinstance(account, Request)
    assert account.amount == zero
    assert refused(transaction(f'<order sym="A" amount="{zero}" limit="1"/>')) == (
        f'<error sym="A" amount="{zero}" limit="1">amount \'{zero}\' is not allowed: '
        "it must be a number above 0 to buy, below 0 to sell</error>"
    )
    assert refused(transaction(f'<order sym="A" amount="1" limit="{zero}"/>')) == (
        f'<error sym="A" amount="1" limit="{zero}">limit \'{zero}\' is not allowed: '
        "it must be a number above 0</error>"
    )
    assert refused(creation(f'<symbol sym="A"><account id="1">{zero}</account></symbol>')) == (
        f'<error sym="A" id="1">the number of shares \'{zero}\' is not allowed: '
        "it must be a number above 0</error>"
    )


@pytest.mark.parametrize("value", ["-1", "-0.00000000000000000001"])
def test_below_zero(value: str) -> None:
    order = transaction(f'<order sym="A" amount="{value}" limit="1"/>')
    assert isinstance(order, Request)
    assert order.amount == value
    assert "must be a number above 0<" in refused(transaction(f'<order sym="A" amount="1" limit="{value}"/>'))
    assert "must be a number of 0 or more<" in refused(creation(f'<account id="1" balance="{value}"/>'))
    assert "must be a number above 0<" in refused(
        creation(f'<symbol sym="A"><account id="1">{value}</account></symbol>')
    )


@pytest.mark.parametrize("value", ["0", "007", "9" * 255])
def test_account_ids(value: str) -> None:
    for child in (
        creation(f'<account id="{value}" balance="1"/>'),
        creation(f'<symbol sym="A"><account id="{value}">1</account></symbol>'),
        one(f'<transactions id="{value}"><query id="1"/></transactions>'),
    ):
        assert isinstance(child, Request)
        assert child.account_id == value


@pytest.mark.parametrize("value", ["", "-1", "+1", "1 ", " 1", "1a", "1.0", "\u0661", "9" * 256, "None"])
def test_anything_else_is_no_account_id(value: str) -> None:
    for child in (
        creation(f'<account id="{value}" balance="1"/>'),
        creation(f'<symbol sym="A"><account id="{value}">1</account></symbol>'),
    ):
        assert f'id="{value}">' in refused(child)
        assert "is not allowed: it must be 1 to 255 decimal digits" in refused(child)


@pytest.mark.parametrize("value", ["SPY", "spy", "1", "A" * 255, "None", "NULL", "null"])
def test_syms(value: str) -> None:
    for child in (
        creation(f'<symbol sym="{value}"/>'),
        creation(f'<symbol sym="{value}"><account id="1">1</account></symbol>'),
        transaction(f'<order sym="{value}" amount="1" limit="1"/>'),
    ):
        assert isinstance(child, Request)
        assert child.sym == value


@pytest.mark.parametrize(
    "value", ["", " ", "A ", " A", "A B", "A-B", "A.B", "\u00c9", "\u0661", "A" * 256, "'", "A&#10;"]
)
def test_anything_else_is_no_sym(value: str) -> None:
    for child in (
        creation(f'<symbol sym="{value}"/>'),
        creation(f'<symbol sym="{value}"><account id="1">1</account></symbol>'),
        transaction(f'<order sym="{value}" amount="1" limit="1"/>'),
    ):
        assert f'<error sym="{value}"' in refused(child)
        assert "is not allowed: it must be 1 to 255 ASCII letters and digits" in refused(child)


@pytest.mark.parametrize("element", ["query", "cancel"])
def test_order_ids(element: str) -> None:
    for value, order_id in (
        ("0", 0),
        ("1", 1),
        ("007", 7),
        ("9223372036854775807", 2**63 - 1),
        ("0" * 9999 + "5", 5),
    ):
        child = transaction(f'<{element} id="{value}"/>')
        assert isinstance(child, Request)
        assert (child.order_id, child.echo) == (order_id, f' id="{value}"')


@pytest.mark.parametrize("element", ["query", "cancel"])
def test_an_order_id_too_large_is_unknown(element: str) -> None:
    """The text is the database's, for an id that it can hold."""
    for value in ("9223372036854775808", "99999999999999999999", "9" * 40):
        assert refused(transaction(f'<{element} id="{value}"/>')) == (
            f'<error id="{value}">no such order: {value}</error>'
        )
    # Too long for int() as well as for a message.
    assert refused(transaction(f'<{element} id="{"9" * 10_000}"/>')) == (
        f'<error id="{"9" * 10_000}">no such order: {"9" * 40}... (10000 characters)</error>'
    )


@pytest.mark.parametrize("element", ["query", "cancel"])
@pytest.mark.parametrize("value", ["", "-1", "+1", "1 ", "1.0", "x", "\u0661"])
def test_anything_else_is_no_order_id(element: str, value: str) -> None:
    assert refused(transaction(f'<{element} id="{value}"/>')) == (
        f"<error id=\"{value}\">id '{value}' is not allowed: "
        "it must be an order's id, in decimal digits</error>"
    )


@pytest.mark.parametrize(
    ("child", "says"),
    [
        (
            '<order amount="1" limit="1"/>',
            '<error amount="1" limit="1">sym is missing: it must be 1 to 255',
        ),
        ('<order sym="A" limit="1"/>', '<error sym="A" limit="1">amount is missing: it must be a number'),
        (
            '<order sym="A" amount="1"/>',
            '<error sym="A" amount="1">limit is missing: it must be a number',
        ),
        ("<order/>", "<error>sym is missing"),
        ("<query/>", "<error>id is missing: it must be an order's id"),
        ('<cancel sym="A"/>', "<error>id is missing"),
    ],
)
def test_missing_attributes_of_transactions(child: str, says: str) -> None:
    assert refused(transaction(child)).startswith(says)


@pytest.mark.parametrize(
    ("child", "says"),
    [
        ('<account balance="1"/>', "<error>id is missing: it must be 1 to 255 decimal digits"),
        ('<account id="1"/>', '<error id="1">balance is missing: it must be a number of 0 or more'),
        ("<symbol/>", "<error>sym is missing: it must be 1 to 255 ASCII letters and digits"),
        ('<symbol sym="A"><account>1</account></symbol>', '<error sym="A">id is missing'),
        ('<symbol><account id="1">1</account></symbol>', '<error id="1">sym is missing'),
        (
            '<symbol sym="A"><account id="1"/></symbol>',
            '<error sym="A" id="1">the number of shares \'\' is',
        ),
    ],
)
def test_missing_attributes_of_create(child: str, says: str) -> None:
    assert refused(creation(child)).startswith(says)
