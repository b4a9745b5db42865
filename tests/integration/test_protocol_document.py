"""The examples of docs/protocol.md, as they stand there: each request gets its reply, and both are valid."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from pgbourse.schema import NotValid, validate
from tests.integration.conftest import Gateway
from tests.integration.feeding import Feed

_DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
_BLOCK = re.compile(r"^```xml\n(.*?)^```$", re.M | re.S)
_TIME = re.compile(r'\b(time|armed)="[0-9.]+"')
# How many transactions a document is, and so how many updates of a book, is the gateway's affair.
_SEQ = re.compile(r'\bseq="[1-9][0-9]*"')

# What others do before the example in this place: an account that has something, and sells.
_SETS_UP = (
    '<create><account id="5" balance="0"/><symbol sym="SPY"><account id="5">10000</account></symbol></create>'
)
_BEFORE = {
    1: [_SETS_UP, '<transactions id="5"><order sym="SPY" amount="-20" limit="145.5"/></transactions>'],
    4: ['<transactions id="5"><order sym="SPY" amount="-50" limit="146"/></transactions>'],
    6: [
        '<transactions id="5"><order sym="SPY" amount="-10" limit="150"/>'
        '<order sym="SPY" amount="-10" limit="151"/></transactions>'
    ],
}
_EXAMPLES = 11
_WRONG = (1, 10)  # these show what comes of a value that isn't allowed


def examples() -> Iterator[tuple[str, str]]:
    """Each request of the document with its reply: side by side, or one below the other."""
    for block in _BLOCK.findall(_DOCUMENT.read_text()):
        if "<results>" not in block:
            continue  # of a feed
        lines = block.splitlines()
        column = lines[0].find("<results>")
        if column > 0:
            yield "\n".join(line[:column] for line in lines), "\n".join(line[column:] for line in lines)
        else:
            request, _, reply = block.partition("<results>")
            yield request, "<results>" + reply


def _pattern(element: etree._Element) -> str:
    """What the reply must match: an ellipsis stands for anything, a time or a seq for any."""
    text = _SEQ.sub('seq="SEQ"', _TIME.sub(r'\1="TIME"', _canonical(element)))
    return re.escape(text).replace("…", ".+").replace("TIME", "[0-9.]+").replace("SEQ", "[1-9][0-9]*")


def _canonical(element: etree._Element) -> str:
    """An element on one line, without white space between its children."""
    for one in element.iter():
        one.tail = None
        if len(one):
            one.text = None
    return etree.tostring(element, encoding="unicode")


def test_every_example_gets_its_reply(gateway: Gateway) -> None:
    found = list(examples())
    assert len(found) == _EXAMPLES
    for place, (request, reply) in enumerate(found):
        for document in _BEFORE.get(place, []):
            assert gateway.ask(document.encode()).find("error") is None
        got = _canonical(gateway.ask(request.encode()))
        assert re.fullmatch(_pattern(etree.fromstring(reply)), got), (request, got)


@pytest.mark.parametrize("place", range(_EXAMPLES))
def test_the_schemas_know_every_example(place: int) -> None:
    request, reply = list(examples())[place]
    validate(reply.replace('"…"', '"x"').encode())
    if place in _WRONG:
        with pytest.raises(NotValid):
            validate(request.encode())
    else:
        validate(request.encode())


# What happens before the first line that the feed sends in its first example, and before each other one.
_FEED_CREATES = """
<create>
  <account id="1" balance="10000"/>
  <symbol sym="SPY"><account id="1">1000</account></symbol>
</create>"""
_HAPPENS = [
    '<order sym="SPY" amount="50" limit="145.5"/><order sym="SPY" amount="-80" limit="146"/>',
    '<order sym="SPY" amount="-80" limit="145.5"/>',
    '<reduce id="2" shares="10"/>',
]
_FEEDS = 4


def feeds() -> list[tuple[str, list[str]]]:
    """Each document that is sent to a feed in the document, with the lines that come of it."""
    blocks = [block for block in _BLOCK.findall(_DOCUMENT.read_text()) if "<results>" not in block]
    return [(request, lines) for request, *lines in map(str.splitlines, blocks)]


def test_every_example_of_a_feed_is_what_it_sends(gateway: Gateway) -> None:
    found = feeds()
    assert len(found) == _FEEDS
    gateway.ask(_FEED_CREATES.encode())
    client = gateway.connect()
    feed = Feed(client)
    happens = iter(_HAPPENS)
    for place, (request, lines) in enumerate(found):
        for number, line in enumerate(lines):
            if place == 0:
                done = gateway.ask(f'<transactions id="1">{next(happens)}</transactions>'.encode())
                assert done.find("error") is None
            if number == 0:
                client.send(request.encode())
            assert _TIME.sub("", feed.line().decode()) == _TIME.sub("", line + "\n"), request


@pytest.mark.parametrize("place", range(_FEEDS))
def test_the_schemas_know_every_example_of_a_feed(place: int) -> None:
    request, lines = feeds()[place]
    for document in (request, *lines):
        validate(document.encode())
