"""From results to XML: well-formed and on one line, whatever the client and the database said."""

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbourse.wire.messages import Answered, Refusal, Request, ResultRow, error_reply, format_reply, parse
from tests.unit.documents import DECLARATION, refused, reply_to, row, transaction


def test_each_result() -> None:
    document = (
        '<transactions id="1"><order sym="SPY" amount="100" limit="145.67"/>'
        '<order sym="SPY" amount="-7" limit="0"/><query id="1"/><cancel id="1"/><query id="999"/>'
        '<order sym="A" amount="+1" limit="1.50"/></transactions>'
    )
    results = [
        [row("opened", 1)],
        [row("open", 1, "80"), row("executed", 1, "20", "145.5", 1519348326)],
        [
            row("canceled", 1, "80", None, 1519348327),
            row("executed", 1, "20", "145.5", 1519348326),
            row("executed", 1, "0.5", "145.25", 1519348327),
        ],
        [row("refused", message="no such order: 999")],
        [row("refused", message="a <b> & \"c\" 'd'\n\te")],
    ]
    assert reply_to(document, *results) == (
        '<opened sym="SPY" amount="100" limit="145.67" id="1"/>'
        '<error sym="SPY" amount="-7" limit="0">limit \'0\' is not allowed: '
        "it must be a number above 0</error>"
        '<status id="1"><open shares="80"/>'
        '<executed shares="20" price="145.5" time="1519348326"/></status>'
        '<canceled id="1"><canceled shares="80" time="1519348327"/>'
        '<executed shares="20" price="145.5" time="1519348326"/>'
        '<executed shares="0.5" price="145.25" time="1519348327"/></canceled>'
        '<error id="999">no such order: 999</error>'
        '<error sym="A" amount="+1" limit="1.50">'
        "a &lt;b&gt; &amp; &quot;c&quot; 'd'&#10;&#9;e</error>"
    )


def test_each_creation() -> None:
    document = (
        '<create><account id="123456" balance="1000"/><symbol sym="SPY">'
        '<account id="123456">100000</account><account id="9">5</account></symbol><symbol sym="X"/></create>'
    )
    created = [row("created")]
    refused = [row("refused", message="no such account: 9")]
    assert reply_to(document, created, created, refused, created) == (
        '<created id="123456"/><created sym="SPY" id="123456"/>'
        '<error sym="SPY" id="9">no such account: 9</error><created sym="X"/>'
    )


def test_a_query_of_a_cancelled_order_tells_its_status() -> None:
    document = '<transactions id="1"><query id="5"/></transactions>'
    assert reply_to(document, [row("canceled", 5, "1", None, 7)]) == (
        '<status id="5"><canceled shares="1" time="7"/></status>'
    )


def test_no_results() -> None:
    """Clients read until </results>, so that it is never an empty-element tag."""
    assert format_reply(parse(b"<create/>"), ()) == f"{DECLARATION}<results></results>".encode()


def test_an_error_reply() -> None:
    assert (
        error_reply("a < b\nc") == f"{DECLARATION}<results><error>a &lt; b&#10;c</error></results>".encode()
    )


@pytest.mark.parametrize("results", [[], [[]], [[row("opened", 1)]]])
def test_a_request_without_an_answer_is_no_success(results: list[list[ResultRow]]) -> None:
    document = parse(b'<transactions id="1"><query id="1"/><query id="2"/></transactions>')
    with pytest.raises(ValueError, match=r"the database (gave no answer|answered with an unknown outcome)"):
        format_reply(document, [*results, []])


def test_an_unknown_outcome_is_no_success() -> None:
    document = parse(b'<transactions id="1"><query id="1"/></transactions>')
    with pytest.raises(ValueError, match="unknown outcome"):
        format_reply(document, [[row("lost")]])


XML_CHARACTERS = st.characters(codec="utf-8", exclude_characters="\ufffe\uffff").filter(
    lambda character: character >= " " or character in "\t\n\r"
)


@settings(deadline=None)
@given(st.text(XML_CHARACTERS))
def test_what_is_repeated_is_what_the_client_wrote(value: str) -> None:
    written = "".join(f"&#{ord(character)};" for character in value)
    reply = refused(transaction(f'<order sym="A" amount="x{written}" limit="{written}"/>'))
    error = ElementTree.fromstring(reply)
    assert error.attrib == {"sym": "A", "amount": f"x{value}", "limit": value}
    assert len(reply.splitlines()) == 1


@settings(deadline=None)
@given(st.text())
def test_any_message_makes_a_reply(message: str) -> None:
    for text in (message, message + "\ud800\0\x1f\ufffe"):
        reply = error_reply(text)
        assert len(reply.decode().splitlines()) == 1
        (error,) = ElementTree.fromstring(reply)
        assert len(error.text or "") == len(text)


FRAGMENTS = st.sampled_from(
    [
        *(
            "<create>",
            "</create>",
            '<transactions id="1">',
            "<transactions>",
            "</transactions>",
            "<symbol>",
        ),
        *(
            '<symbol sym="A">',
            "</symbol>",
            '<account id="1">',
            '<account id="1" balance="5"/>',
            "</account>",
        ),
        *('<order sym="A" amount="1" limit="1"/>', "<order amount='&#9;&lt;\u2028'/>", '<query id="1"/>'),
        *(
            "<cancel id='-'>",
            "<server/>",
            "</cancel>",
            "<a:b xmlns:a='u'>",
            "</a:b>",
            "5",
            " ",
            "<!-- -->",
            "<![CDATA[5]]>",
        ),
        *("&amp;", "<!DOCTYPE a [", "\ufeff", "\0", "<?xml version='1.0' encoding='cp1252'?>", "]>", "é"),
    ]
)


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(
            st.lists(FRAGMENTS, max_size=12).map("".join),
            st.sampled_from(["utf-8", "utf-16", "utf-16-be"]),
        ).map(lambda parts: parts[0].encode(parts[1])),
    )
)
def test_any_bytes_get_a_well_formed_reply(document: bytes) -> None:
    parsed = parse(document)
    assert parsed.requests == [child for child in parsed.children if isinstance(child, Request)]
    reply = format_reply(parsed, [[row("created")]] * len(parsed.requests))
    assert len(reply.decode().splitlines()) == 1
    results = ElementTree.fromstring(reply)
    assert results.tag == "results"
    assert [child.tag for child in results] == [
        {Request: "created", Refusal: "error", Answered: "server"}[type(child)] for child in parsed.children
    ]
