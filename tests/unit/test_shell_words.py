"""The shell's commands: what a line asks for, what may come next on it, and what is wrong with it."""

from decimal import Decimal
from pathlib import Path

import pytest
from lxml import etree

from pgbourse.client import (
    Account,
    ArmSwitch,
    Cancel,
    CancelAll,
    DisarmSwitch,
    Grant,
    ListOrders,
    LookAccount,
    LookBook,
    NewAccount,
    NewSymbol,
    Opened,
    Order,
    Position,
    Query,
    Reduce,
    Replace,
    Transaction,
)
from pgbourse.look.completing import Known, candidates
from pgbourse.look.completingxml import CHILDREN, REQUESTS
from pgbourse.look.documents import DocumentError, account_of, cut, outgoing
from pgbourse.look.usages import USAGES, help_lines
from pgbourse.look.words import Ask, AskServer, Help, Make, Quit, Tape, Use, WordsError, parse
from pgbourse.schema import schema_folder


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("buy SPY 100 @ 145.5", Order("SPY", "100", "145.5")),
        ("buy 100 SPY @145.5", Order("SPY", "100", "145.5")),
        ("BUY SPY 100@145.50", Order("SPY", "100", "145.50")),
        ("buy 1 2 at 3", Order("1", "2", "3")),
        ("sell spy 0.5 @ 7 ioc", Order("spy", "-0.5", "7", tif="IOC")),
        ("sell SPY 5 @ 7 FOK stp maker", Order("SPY", "-5", "7", tif="FOK", stp="maker")),
        ("buy SPY 5 @ 7 post ref a7", Order("SPY", "5", "7", post=True, ref="a7")),
        ("buy SPY 100 @ market budget 5000", Order("SPY", "100", type="market", budget="5000")),
        ("sell SPY 60.0 @ market", Order("SPY", "-60.0", type="market")),
        ("cancel 5", Cancel(5)),
        ("cancel a7", Cancel(ref="a7")),
        ("cancel ref 5", Cancel(ref="5")),
        ("cancel all", CancelAll()),
        ("cancel all SPY", CancelAll("SPY")),
        ("cancel all after 60", ArmSwitch(60)),
        ("cancel all after 0", DisarmSwitch()),
        ("reduce 5 to 30", Reduce(5, to="30")),
        ("reduce a7 by 2.5", Reduce(ref="a7", shares="2.5")),
        ("replace 5 with buy 80 @ 146", Replace(5, amount="80", limit="146")),
        ("replace a7 sell 80 @ 146 open 100 ref b1",
         Replace(of="a7", amount="-80", limit="146", open="100", ref="b1")),
        ("query 5", Query(5)),
        ("account", LookAccount()),
        ("orders", ListOrders()),
        ("orders SPY", ListOrders("SPY")),
        ("book SPY", LookBook("SPY")),
        ("book SPY 3", LookBook("SPY", 3)),
    ],
)  # fmt: skip
def test_requests(line: str, item: Transaction) -> None:
    assert parse(line) == Ask((item,))


def test_all_else() -> None:
    assert parse("create account 2 1000") == Make((NewAccount("2", "1000"),))
    assert parse("create symbol SPY") == Make((NewSymbol("SPY"),))
    assert parse("grant SPY 2 100") == Make((Grant("SPY", "2", "100"),))
    assert parse("tape SPY") == Tape("SPY", 20)
    assert parse("tape SPY 3") == Tape("SPY", 3)
    assert parse("use 2") == Use("2")
    assert parse("server") == AskServer()
    assert (parse("help"), parse("help BUY")) == (Help(), Help("buy"))
    assert parse("quit") == parse(" EXIT ") == Quit()
    assert parse("") is parse("   ") is parse("# buy SPY 1 @ 1") is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("frobnicate", "'frobnicate' is no command: buy, sell"),
        ("buy", "a symbol is wanted at the end: buy SYM SHARES"),
        ("buy SPY -5 @ 1", "a number of shares is wanted where '-5' stands"),
        ("buy SPY 1e5 @ 1", "a number of shares is wanted where '1e5' stands"),
        ("buy SPY 5 145", "@ or at is wanted where '145' stands"),
        ("buy SPY 5 @", "a price, or market, is wanted at the end"),
        ("buy SPY 5 @ 1 gtd", "ioc, fok, gtc, post, stp, ref, budget is wanted where 'gtd' stands"),
        ("buy SPY 5 @ 1 ioc fok", "tif is said twice"),
        ("buy SPY 5 @ 1 stp all", "taker or maker or both is wanted where 'all' stands"),
        ("account 7", "nothing more is wanted where '7' stands"),
        ("cancel all after soon", "a number of seconds is wanted"),
        ("reduce 5", "to or by is wanted at the end: reduce ORDER to SHARES"),
        ("replace 5 with 80 @ 1", "buy or sell is wanted where '80' stands: replace ORDER"),
        (
            "create money",
            "account or symbol is wanted where 'money' stands: create account ID MONEY or create",
        ),
        ("book SPY deep", "a number of prices is wanted"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_with_what_could_stand_there(line: str, told: str) -> None:
    with pytest.raises(WordsError) as error:
        parse(line)
    assert told in str(error.value)


def test_the_help_knows_every_command() -> None:
    with pytest.raises(WordsError) as error:
        parse("frobnicate")
    commands = str(error.value).split(": ")[1].split(", ")
    assert {usage.split()[0] for usage, _ in USAGES} == set(commands) - {"exit"}


def test_the_docs_have_the_help() -> None:
    page = (Path(__file__).parents[2] / "docs" / "market-data.md").read_text()
    for usage, text in USAGES:
        escaped = usage.replace("|", "\\|")
        assert f"| `{escaped}` | {text.replace('<…>', '`<…>`')} |\n" in page


def test_the_help_fits_a_terminal_of_80_columns() -> None:
    lines = help_lines()
    assert max(map(len, lines)) <= 80
    assert "use ID                      act for this account from now on" in lines
    assert help_lines("use") == ["use ID                      act for this account from now on"]
    assert [line.split()[0] for line in help_lines("buy")] == ["buy", "buy", "buy", "buy"]
    assert help_lines("buy")[1] == " " * 28 + "buy at PRICE or less"
    assert help_lines("frobnicate") == []


KNOWN = Known({"SPY", "SAP"}, {"1", "22"}, {"5": None, "9": None})


@pytest.mark.parametrize(
    ("line", "begun", "words"),
    [
        ("b", "b", ["book", "buy"]),
        ("BU", "BU", ["buy"]),
        ("buy ", "", ["SAP", "SPY"]),
        ("buy s", "s", ["SAP", "SPY"]),
        ("buy SPY 100 ", "", ["@"]),
        ("buy SPY 100 @", "", ["market"]),
        ("buy SPY 100 @ma", "ma", ["market"]),
        ("buy SPY 100 @ market ", "", ["budget"]),
        ("buy SPY 100 @ 1 ", "", ["ioc", "fok", "post", "stp", "ref"]),
        ("sell SPY 100 @ 1 stp ", "", ["taker", "maker", "both"]),
        ("cancel ", "", ["all", "9", "5"]),
        ("cancel all ", "", ["after", "SAP", "SPY"]),
        ("reduce 5 ", "", ["to", "by"]),
        ("replace 5 with ", "", ["buy", "sell"]),
        ("use 2", "2", ["22"]),
        ("query 9", "9", []),
        ("account ", "", []),
        ("<create>", "", []),
        ("<o", "o", ["order", "orders"]),
        ("<create><", "", ["account", "symbol", "server"]),
        ('<create><symbol sym="X"><', "", ["account"]),
        ('<create><symbol sym="X"><account id="', "", ['1"', '22"']),
        ('<create><symbol sym="X"><account id="1">5</', "", ["account>"]),
        ('<transactions id="1"><account/></t', "t", ["transactions>"]),
        ('<transactions id="1"><cancel ', "", ['id="', 'ref="', 'all="', 'sym="', 'after="']),
        ('<cancel all="true" s', "s", ['sym="']),
        ("<query id='", "", ["9'", "5'"]),
        ('<order sym="S', "S", ['SAP"', 'SPY"']),
        ('<order sym="SPY" tif="i', "i", ['IOC"']),
        ('<order sym="SPY" amount="1"', "", []),
        (
            '<order sym="a>b" ',
            "",
            [f'{name}="' for name in ["amount", "limit", "type", "budget", "ref", "tif", "post", "stp"]],
        ),
        ("<nonsense ", "", []),
        ("</", "", []),
        ("help cr", "cr", ["create"]),
    ],
)
def test_what_may_come_next(line: str, begun: str, words: list[str]) -> None:
    assert candidates(line, KNOWN) == (begun, words)


RNG = "{http://relaxng.org/ns/structure/1.0}"


def in_schema(grammar: etree._Element, content: etree._Element) -> tuple[set[str], dict[str, set[str]]]:
    """Return the attributes, and by name the children's attributes, that a part of the schema allows."""
    attributes: set[str] = set()
    children: dict[str, set[str]] = {}
    for part in content:
        if part.tag == RNG + "attribute":
            attributes.add(part.get("name", ""))
        elif part.tag == RNG + "element":
            children.setdefault(part.get("name", ""), set()).update(in_schema(grammar, part)[0])
        else:
            if part.tag == RNG + "ref":
                (part,) = grammar.findall(f"{RNG}define[@name='{part.get('name')}']")
            more, others = in_schema(grammar, part)
            attributes |= more
            for name, found in others.items():
                children.setdefault(name, set()).update(found)
    return attributes, children


def test_elements_and_attributes_of_xml_are_those_of_the_schema() -> None:
    grammar = etree.parse(schema_folder() / "pgbourse.rng").getroot()
    for parent, known in CHILDREN.items():
        (element,) = [
            one for one in grammar.iter(f"{RNG}element") if one.get("name") == parent and len(one) > 1
        ]
        attributes, children = in_schema(grammar, element)
        assert children == {name: set(given) for name, given in known.items()}
        assert attributes == set(REQUESTS[parent])


def test_symbols_accounts_and_orders_are_remembered() -> None:
    known = Known()
    for line in ("buy SPY 1 @ 1", "create account 7 1", "grant QQQ 8 1", "use 9", "tape TTT"):
        command = parse(line)
        assert command is not None
        known.hear(command)
    known.learn([Opened(5, "SAP", Decimal(1), Decimal(1)), Opened(6, "SAP", Decimal(1), Decimal(1))])
    known.learn([Account(Decimal(0), Decimal(0), (Position("POS", Decimal(1), Decimal(0)),))])
    assert known.symbols == {"SPY", "QQQ", "TTT", "SAP", "POS"}
    assert known.accounts == {"7", "8", "9"}
    assert candidates("cancel ", known) == ("", ["all", "6", "5"])
    known.learn([Opened(number, "SAP", Decimal(1), Decimal(1)) for number in range(1000)])
    assert list(known.orders) == [str(number) for number in range(900, 1000)]


def test_xml_goes_on_until_its_root_is_closed() -> None:
    assert cut("<create>") is None
    assert cut('<create>\n<account id="1" balance="</create>"/>') is None
    assert cut("<create/>\n") == ["<create/>"]
    assert cut("<create/> <transactions></transactions>") == ["<create/>", "<transactions></transactions>"]
    assert cut("<create/> <transactions>") is None


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ('<transactions id="2"/>', '<transactions id="2"/>'),
        ('<query id="5"/>', '<transactions id="1" codes="true"><query id="5"/></transactions>'),
        ("<account />", '<transactions id="1" codes="true"><account /></transactions>'),
        ('<account id="2" balance="1"/>', '<create codes="true"><account id="2" balance="1"/></create>'),
        ("<?xml version='1.0'?><create/>", "<?xml version='1.0'?><create/>"),
        ("<what/>", "<what/>"),
    ],
)
def test_a_request_alone_becomes_a_document_of_the_account(typed: str, sent: str) -> None:
    assert outgoing(typed, "1") == sent.encode()


@pytest.mark.parametrize("typed", ['<subscribe sym="X"/>', "<?xml version='1.0'?><!-- a --><subscribe/>"])
def test_a_feed_is_not_for_the_shell(typed: str) -> None:
    with pytest.raises(DocumentError, match="a feed needs a connection of its own"):
        outgoing(typed, "1")


def test_an_account_is_text_within_its_attribute() -> None:
    assert outgoing("<orders/>", 'a"<&').startswith(b"<transactions id='a\"&lt;&amp;' ")


def test_the_account_of_a_document() -> None:
    assert account_of(b'<transactions id="7"/>') == "7"
    assert account_of(b"<create/>") is account_of(b"<create") is None
