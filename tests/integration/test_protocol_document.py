"""The examples of docs/protocol.md, as they stand there: each request gets its reply, and both are valid."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from pgbourse.schema import NotValid, validate
from tests.integration.conftest import Gateway

_DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
_BLOCK = re.compile(r"^```xml\n(.*?)^```$", re.M | re.S)
_TIME = re.compile(r'\b(time|armed)="[0-9]+"')
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
    return re.escape(text).replace("…", ".+").replace("TIME", "[0-9]+").replace("SEQ", "[1-9][0-9]*")


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
