"""Which requests a document makes, and which refusals, as docs/protocol.md says."""

from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from pgbourse.wire import elements
from pgbourse.wire.messages import Answered, Document, Refusal, Request, format_reply, parse, parse_all
from tests.unit.documents import creation, one, refusal_of_all, refused, row, transaction


def test_create() -> None:
    parsed = parse(
        b"""<?xml version="1.0" encoding="UTF-8"?>
        <create>
          <account id="123456" balance="1000"/>
          <symbol sym="SPY">
            <account id="123456">100000</account>
            <account id="9">5</account>
          </symbol>
          <symbol sym="ABC"/>
          <account id="007" balance="0.5"/>
        </create>"""
    )
    assert parsed.children == parsed.requests
    assert parsed.requests == [
        Request("create_account", "123456", None, "1000", None, None, ' id="123456"'),
        Request("grant_shares", "123456", "SPY", "100000", None, None, ' sym="SPY" id="123456"'),
        Request("grant_shares", "9", "SPY", "5", None, None, ' sym="SPY" id="9"'),
        Request("create_symbol", None, "ABC", None, None, None, ' sym="ABC"'),
        Request("create_account", "007", None, "0.5", None, None, ' id="007"'),
    ]


def test_transactions() -> None:
    parsed = parse(
        b"""<transactions id="123456">
          <order sym="SPY" amount="100" limit="145.67"/>
          <order limit="1" amount="-7.5" sym="a1"/>
          <query id="1"/>
          <cancel id="0012"/>
        </transactions>"""
    )
    assert parsed.children == parsed.requests
    assert parsed.requests == [
        Request(
            "place_order",
            "123456",
            "SPY",
            "100",
            "145.67",
            None,
            ' sym="SPY" amount="100" limit="145.67"',
        ),
        Request("place_order", "123456", "a1", "-7.5", "1", None, ' sym="a1" amount="-7.5" limit="1"'),
        Request("query_order", "123456", None, None, None, 1, ' id="1"'),
        Request("cancel_order", "123456", None, None, None, 12, ' id="0012"'),
    ]


@pytest.mark.parametrize("root", ["create", 'transactions id="1"', 'create id="x"'])
def test_no_children_no_results(root: str) -> None:
    assert parse(f"<{root}/>".encode()) == Document([], [])


def test_other_attributes_are_ignored() -> None:
    order = transaction('<order a="1" sym="A" id="5" amount="1" x:y="&lt;" limit="2" xmlns:x="urn:x"/>')
    assert order == transaction('<order sym="A" amount="1" limit="2"/>')
    assert creation('<account id="1" balance="2" sym="A"/>') == creation('<account id="1" balance="2"/>')


def test_text_and_elements_within_children_are_ignored() -> None:
    assert transaction('a<order sym="A" amount="1" limit="2">b<c><order/></c></order>d') == transaction(
        '<order sym="A" amount="1" limit="2"/>'
    )
    assert creation('a<account id="1" balance="2">5<account/></account>') == creation(
        '<account id="1" balance="2"/>'
    )
    assert creation('<symbol sym="A">a</symbol>') == creation('<symbol sym="A"/>')


def test_five_thousand_children() -> None:
    orders = "".join(f'<order sym="A" amount="{n}" limit="1"/>' for n in range(1, 5001))
    parsed = parse(f'<transactions id="1">{orders}</transactions>'.encode())
    assert [request.amount for request in parsed.requests] == [str(n) for n in range(1, 5001)]
    results = [[row("opened", n)] for n in range(1, 5001)]
    reply = ElementTree.fromstring(format_reply(parsed, results))
    assert [(child.get("amount"), child.get("id")) for child in reply] == [
        (str(n), str(n)) for n in range(1, 5001)
    ]


@pytest.mark.parametrize("depth", [10, 250])
def test_nesting(depth: int) -> None:
    deep = "<a>" * depth + "</a>" * depth
    assert refused(transaction(deep)).startswith("<error>unknown element &lt;a&gt;")
    assert refused(creation(f'<symbol sym="A">{deep}</symbol>')).startswith('<error sym="A">unknown')
    assert refusal_of_all(deep).startswith("unknown root element <a>")
    assert refusal_of_all("<create>" * depth).startswith("not readable as XML: Premature end of data")


@pytest.mark.parametrize("depth", [300, 200_000])
def test_nesting_too_deep(depth: int) -> None:
    deep = "<a>" * depth + "</a>" * depth
    for document in (deep, f"<create>{deep}</create>", "<create>" * depth):
        assert refusal_of_all(document).startswith(
            "not readable as XML: Excessive depth in document: 256, line 1"
        )


def test_one_bad_child_among_good_ones() -> None:
    parsed = parse(b'<transactions id="1"><query id="1"/><query id="x"/><cancel id="2"/></transactions>')
    assert [type(child) for child in parsed.children] == [Request, Refusal, Request]
    assert parsed.requests == [parsed.children[0], parsed.children[2]]


def test_a_symbol_with_a_bad_sym_refuses_each_of_its_accounts() -> None:
    parsed = parse(
        b'<create><symbol sym="?"><account id="1">5</account><account id="2">6</account></symbol>'
        b'<symbol sym="A"><account id="3">7</account></symbol></create>'
    )
    assert [child.echo for child in parsed.children if not isinstance(child, Answered)] == [
        ' sym="?" id="1"',
        ' sym="?" id="2"',
        ' sym="A" id="3"',
    ]
    assert [request.account_id for request in parsed.requests] == ["3"]


def test_unknown_children() -> None:
    assert refused(transaction('<buy sym="A" id="3" limit="2" what="?"/>')) == (
        '<error sym="A" limit="2" id="3">unknown element &lt;buy&gt;: '
        "&lt;transactions&gt; may hold &lt;order&gt;, &lt;query&gt; and &lt;cancel&gt;</error>"
    )
    assert refused(creation('<order sym="A"/>')) == (
        '<error sym="A">unknown element &lt;order&gt;: '
        "&lt;create&gt; may hold &lt;account&gt; and &lt;symbol&gt;</error>"
    )
    assert refused(creation('<symbol sym="A"><order id="1" limit="2"/></symbol>')) == (
        '<error sym="A" id="1">unknown element &lt;order&gt;: &lt;symbol&gt; may hold &lt;account&gt;</error>'
    )
    assert "unknown element &lt;Order&gt;" in refused(transaction("<Order/>"))
    assert "unknown element &lt;symbol&gt;" in refused(transaction('<symbol sym="A"/>'))


def test_an_element_among_the_shares() -> None:
    """5<b/>6 is not 56, and not 5 either."""
    assert refused(creation('<symbol sym="A"><account id="1">5<b>0</b>6</account></symbol>')) == (
        '<error sym="A" id="1">unknown element &lt;b&gt;: '
        "&lt;account&gt; in &lt;symbol&gt; holds a number of shares</error>"
    )


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("", "the id of &lt;transactions&gt; is missing: it must be 1 to 255 decimal digits"),
        (
            'id="x"',
            "the id of &lt;transactions&gt; 'x' is not allowed: it must be 1 to 255 decimal digits",
        ),
    ],
)
def test_transactions_of_nobody(attribute: str, says: str) -> None:
    parsed = parse(
        f'<transactions {attribute}><order sym="A" amount="1" limit="2" id="9"/><query id="3"/>'
        f'<cancel id="4" sym="B"/><order/><what id="5"/></transactions>'.encode()
    )
    assert parsed.requests == []
    assert [refused(child) for child in parsed.children if not isinstance(child, Answered)] == [
        f'<error sym="A" amount="1" limit="2">{says}</error>',
        f'<error id="3">{says}</error>',
        f'<error id="4">{says}</error>',
        f"<error>{says}</error>",
        f'<error id="5">{says}</error>',
    ]
    assert f"<error>{says}</error>" == refused(one(f"<transactions {attribute}/>"))


@pytest.mark.parametrize(
    "root",
    ["results", "Create", "createx", "c", "x:create xmlns:x='urn:x'", "create xmlns='urn:x'", "order"],
)
def test_unknown_roots(root: str) -> None:
    name = "{urn:x}create" if "urn:x" in root else root
    assert refusal_of_all(f'<{root}><account id="1" balance="1"/></{root.split()[0]}>') == (
        f"unknown root element <{name}>: it must be <create> or <transactions>"
    )


def test_a_namespace_makes_another_name() -> None:
    assert "unknown element &lt;{urn:x}order&gt;" in refused(
        transaction('<order xmlns="urn:x" sym="A" amount="1" limit="1"/>')
    )
    assert "sym is missing" in refused(transaction('<order xmlns:x="urn:x" x:sym="A" amount="1" limit="1"/>'))


@pytest.mark.parametrize("document", ["", " ", "\r\n\t "])
def test_empty_documents(document: str) -> None:
    assert refusal_of_all(document) == "the document is empty"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("hello", "Start tag expected, '<' not found, line 1, column 1"),
        ("<create>", "Premature end of data in tag create line 1, line 1, column 9"),
        (
            "<create>\n<account></create>",
            "Opening and ending tag mismatch: account line 2 and create, line 2, column 19",
        ),
        ("<create/><create/>", "Extra content at the end of the document, line 1, column 10"),
        ("<create/>x", "Extra content at the end of the document, line 1, column 10"),
        ("<create a=1/>", "AttValue: \" or ' expected, line 1, column 11"),
        ('<create a="1" a="2"/>', "Attribute a redefined, line 1, column 20"),
        ('<create a="<"/>', "Unescaped '<' not allowed in attributes values, line 1, column 12"),
        ("<create>&nbsp;</create>", "Entity 'nbsp' not defined, line 1, column 15"),
        ("<create>&#0;</create>", "xmlParseCharRef: invalid xmlChar value 0, line 1, column 13"),
        ("<create>&#xd800;</create>", "xmlParseCharRef: invalid xmlChar value 55296, line 1, column 17"),
        ("<create>\0</create>", "Invalid character: Char 0x0 out of allowed range, line 1, column 9"),
        ("<create>\1</create>", "PCDATA invalid Char value 1, line 1, column 9"),
        ("<create>]]></create>", "Sequence ']]>' not allowed in content, line 1, column 9"),
        ("<create><!-- -- --></create>", "Double hyphen within comment: <!--, line 1, column 14"),
        ("<x:create/>", "Namespace prefix x on create is not defined, line 1, column 10"),
        (
            " <?xml version='1.0'?><create/>",
            "XML declaration allowed only at the start of the document, line 1, column 7",
        ),
        ("{'json': true}", "Start tag expected, '<' not found, line 1, column 1"),
        ("GET / HTTP/1.1\r\n\r\n", "Start tag expected, '<' not found, line 1, column 1"),
    ],
)
def test_what_is_not_xml(document: str, says: str) -> None:
    assert refusal_of_all(document) == f"not readable as XML: {says}"


def test_nothing_of_a_document_that_breaks_off_is_carried_out() -> None:
    parsed = parse(b'<transactions id="1"><order sym="A" amount="1" limit="1"/></transaction>')
    assert parsed.requests == []
    assert len(parsed.children) == 1


@pytest.mark.parametrize(
    "document", [b"<create>\xff</create>", b"\xff\xfe<\0", b"\xfe\xff\xd8\0", b"\xef\xbb\xbf"]
)
def test_bytes_that_are_no_characters(document: bytes) -> None:
    assert refusal_of_all(document).startswith("not readable as XML: ")


@pytest.mark.parametrize("value", ["9" * 41, "x" * 1_000_000, "&lt;" * 500])
def test_a_long_value_is_shortened_in_the_message_and_whole_in_the_echo(value: str) -> None:
    reply = refused(transaction(f'<order sym="A" amount="{value}" limit="1"/>'))
    assert f'amount="{value}"' in reply
    error = ElementTree.fromstring(reply)
    characters = len(error.attrib["amount"])
    assert error.text is not None
    assert error.text.startswith(
        f"amount '{error.attrib['amount'][:40]}... ({characters} characters)' is not"
    )
    assert len(error.text) < 250


def test_long_names_are_shortened() -> None:
    name = "n" * 100_000
    assert len(refusal_of_all(f"<{name}/>")) < 200
    assert len(refused(transaction(f"<{name}/>"))) < 250


def test_many_threads_at_once() -> None:
    documents = [
        f'<transactions id="{n}"><order sym="S{n}" amount="{n}" limit="{n}"/><query id="{n}"/></transactions>'
        for n in range(1, 2001)
    ]
    with ThreadPoolExecutor(8) as pool:
        parsed = list(pool.map(parse, (document.encode() for document in documents)))
    for n, document in enumerate(parsed, 1):
        order, query = document.requests
        assert (order.account_id, order.sym, order.amount, query.order_id) == (str(n), f"S{n}", str(n), n)


def test_a_document_has_so_many_children_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgbourse.wire.messages.MAX_CHILDREN", 4)
    grants = '<symbol sym="S">' + '<account id="1">1</account>' * 3 + "</symbol>"
    assert len(parse(f'<create><account id="1" balance="1"/>{grants}</create>'.encode()).requests) == 4
    refusal = "the document has more than 4 children: split it"
    assert (
        refusal_of_all(f'<create><account id="1" balance="1"/>{grants}<symbol sym="X"/></create>') == refusal
    )
    assert refusal_of_all(f'<transactions id="1">{"<query/>" * 5}</transactions>') == refusal


BUY = b'<transactions id="1"><order sym="A" amount="1" limit="1"/></transactions>'


@pytest.mark.parametrize(
    "documents",
    [
        [],
        [BUY],
        [
            BUY,
            BUY,
            b'<create><symbol sym="S"><account id="1">2</account></symbol><account/></create>',
        ],
        [BUY, b'<?xml version="1.0" encoding="UTF-8"?>\n' + BUY + b"\n", b" " + BUY, "\ufeff".encode() + BUY],
        [b"<transactions id='1'>", b"</transactions>", BUY],
        [b"<a>", b"</a><b>", b"</b>"],
        [b"<a/><b/>", b"<c>", b"</c>"],
        [b"</r><r>", BUY, BUY],
        [b"<r/>", b"<r><r/></r>", BUY],
        [b"<create/>text<create/>", BUY, BUY],
        [b"<create/>text>", BUY, BUY],
        [b"<create><!--", BUY, b"--></create>"],
        [b"<create><![CDATA[", BUY, b"]]></create>"],
        [b"<create/><![CDATA[]]>", BUY, BUY],
        [b"<transactions id='1'><order sym='", BUY, b"' amount='1' limit='1'/></transactions>"],
        [BUY, b"", b"<", b">", b"<>", b"<create id='1' id='1'/>", b"<p:create/>", BUY],
        [BUY, b"<create xmlns='u'/>", b"<p:create xmlns:p='u'/>", b"<p:create/>", BUY],
        [BUY, b"<!DOCTYPE a [<!ENTITY e 'v'>]><a>&e;</a>", b"<create>&e;</create>", BUY],
        [BUY, BUY.decode().encode("utf-16"), b"<create>\xff</create>", BUY.replace(b">", b">\0", 1), BUY],
        [BUY, 300 * b"<a>" + 300 * b"</a>", BUY],
        [BUY, b"<transactions id='1'>" + 5000 * b"<query id='1'/>" + b"</transactions>", BUY],
        300 * [b"<transactions id='1'>" + 200 * b"<query id='1'/>" + b"</transactions>"],
    ],
)
def test_documents_that_are_read_together_are_understood_as_each_alone(documents: list[bytes]) -> None:
    assert parse_all(documents) == [parse(document) for document in documents]


def test_documents_are_read_together_where_that_gives_the_same() -> None:
    together = elements.read_together([BUY, b"<a>", b"<!-- --><create/>", BUY])
    assert together == [None, None, None, None]  # the second is not well-formed, so all are read alone
    together = elements.read_together([BUY, b"<!-- --><create/>", BUY])
    assert [root is not None and root.tag for root in together] == ["transactions", False, "transactions"]
