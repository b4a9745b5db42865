"""What clients in use send, byte for byte: each gets its replies, at once and in order."""

import struct
from collections.abc import Callable

import pytest

from pgbourse.wire.framing import Framing, wrap_reply
from tests.integration.client import WireClient, length_line
from tests.integration.conftest import Gateway, StartGateway

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
DOCUMENTS = (
    DECLARATION
    + b'<create><account id="1" balance="99"/><symbol sym="X"><account id="1">9</account></symbol></create>',
    DECLARATION + b'<transactions id="1">\r\n  <order sym="X" amount="2" limit="3"/>\r\n</transactions>\r\n',
    b'<transactions id="1"><query id="1"/><cancel id="1"/></transactions>',
)
RESULTS = (["created", "created"], ["opened"], ["status", "canceled"])


def c_string(data: bytes) -> bytes:
    """write(fd, data, strlen(data) + 1)"""
    return data + b"\0"


def c_buffer(data: bytes) -> bytes:
    """char buffer[1024] = {0}; strcpy(buffer, data); write(fd, buffer, sizeof buffer)"""
    return data.ljust(1024, b"\0")


def packed_with_newline(document: bytes) -> bytes:
    """sock.send(struct.pack("<I", len(xml)) + b"\\n" + xml)"""
    return struct.pack("<I", len(document)) + b"\n" + document


def packed(document: bytes) -> bytes:
    """sock.send(struct.pack("i", len(xml))); sock.send(xml), on Intel or ARM"""
    return struct.pack("<i", len(document)) + document


FRAMINGS: dict[str, Callable[[bytes], bytes]] = {
    "length line": length_line,
    "length line, CRLF": lambda document: b"%d\r\n%b" % (len(document), document),
    "length line, NUL": lambda document: c_string(length_line(document)),
    "length line, NUL and newline": lambda document: c_string(length_line(document)) + b"\n",
    "length line in a buffer": lambda document: c_buffer(length_line(document)),
    "bare": bytes,
    "bare, NUL": c_string,
    "bare, newline and NUL": lambda document: c_string(document + b"\n"),
    "bare in a buffer": c_buffer,
    "bare with a UTF-8 mark, NUL": lambda document: c_string(b"\xef\xbb\xbf" + document),
    "packed, newline": packed_with_newline,
    "packed, newline, NUL": lambda document: c_string(packed_with_newline(document)),
    "packed": packed,
    "packed, NUL": lambda document: c_string(packed(document)),
    "packed in a buffer": lambda document: c_buffer(packed(document)),
    "packed, with a UTF-8 mark": lambda document: packed(b"\xef\xbb\xbf" + document),
    "packed, counting the newline at the end": lambda document: packed(document + b"\n"),
    "UTF-16, length line": lambda document: length_line(utf_16(document)),
    "UTF-16, packed": lambda document: packed(utf_16(document)),
    "UTF-16, wide NUL": lambda document: utf_16(document) + b"\0\0",
}


def utf_16(document: bytes) -> bytes:
    return document.decode().replace("UTF-8", "UTF-16").encode("utf-16")


def results(client: WireClient) -> list[str]:
    return [str(child.tag) for child in client.reply()]


@pytest.mark.parametrize("wrap", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_a_client_that_waits_for_each_reply(gateway: Gateway, wrap: Callable[[bytes], bytes]) -> None:
    client = gateway.connect()
    for document, expected in zip(DOCUMENTS, RESULTS, strict=True):
        client.send_raw(wrap(document))
        assert results(client) == expected
    client.half_close()
    assert client.is_closed()


@pytest.mark.parametrize("wrap", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_a_client_that_waits_for_nothing(gateway: Gateway, wrap: Callable[[bytes], bytes]) -> None:
    client = gateway.connect()
    for byte in b"".join(map(wrap, DOCUMENTS)):
        client.send_raw(bytes([byte]))
    assert [results(client) for _ in DOCUMENTS] == list(RESULTS)
    client.half_close()
    assert client.is_closed()


@pytest.mark.parametrize("between", [b"\0", b"\0\0", b"\0" * 100_000, b"\n\0", b"\0\r\n\0", b" \0 \0\n"])
def test_nuls_between_all_framings(gateway: Gateway, between: bytes) -> None:
    client = gateway.connect()
    client.send_raw(between)
    for document, expected in zip(DOCUMENTS, RESULTS, strict=True):
        for framing in Framing:
            client.send_raw(between + wrap_reply(document, framing))
            first = framing is Framing.LENGTH_LINE  # the others say the same again
            assert results(client) == expected or not first
    client.send_raw(between)
    client.half_close()
    assert client.is_closed()


@pytest.mark.parametrize("framing", Framing)
def test_nuls_begin_no_request(start_gateway: StartGateway, framing: Framing) -> None:
    """They may lie there for longer than a request may take."""
    gateway = start_gateway(request_timeout=0.2)
    quiet, slow = gateway.connect(), gateway.connect()
    quiet.send_raw(wrap_reply(DOCUMENTS[0], framing) + b"\0\0\0")
    assert results(quiet) == RESULTS[0]
    slow.send_raw(b"<create>")
    assert "not complete within" in (slow.reply()[0].text or "")  # so much time has passed
    quiet.send_raw(b"\0" + wrap_reply(DOCUMENTS[1], framing))
    assert results(quiet) == RESULTS[1]


@pytest.mark.parametrize("wrap", [length_line, packed, packed_with_newline])
def test_a_length_that_promises_too_much_is_told(
    start_gateway: StartGateway, wrap: Callable[[bytes], bytes]
) -> None:
    """As of a client that counts a NUL or a newline which it doesn't send."""
    gateway = start_gateway(request_timeout=0.2)
    document = DOCUMENTS[0]
    counts = f"{len(document)} of {len(document) + 1} bytes of it"
    short = wrap(document + b"\n")[:-1]
    waits, ends = gateway.connect(), gateway.connect()
    waits.send_raw(short)
    ends.send_raw(short)
    ends.half_close()
    assert ends.reply()[0].text == f"the input ended within a request, after {counts}"
    assert waits.reply()[0].text == f"the request was not complete within 0.2 seconds: {counts} came"
    assert waits.is_closed()


@pytest.mark.parametrize(
    "document",
    [
        b"<create>\0</create>",
        b'<create><account id="1\0" balance="5"/></create>',
        b"<create\0></create\0>",
        b"<create\0/>",
        b"<create><\0/></create>",
        b"<create><!--\0--></create>",
    ],
)
@pytest.mark.parametrize("framing", Framing)
def test_a_nul_within_a_document_is_an_error(gateway: Gateway, document: bytes, framing: Framing) -> None:
    client = gateway.connect()
    client.send_raw(c_string(wrap_reply(document, framing)) + wrap_reply(DOCUMENTS[0], framing))
    assert (client.reply()[0].text or "").startswith("not readable as XML")
    assert results(client) == RESULTS[0]


def test_a_mirror_answers_in_the_framing_without_a_newline(start_gateway: StartGateway) -> None:
    client = start_gateway(reply_framing="mirror").connect()
    client.send_raw(packed(DOCUMENTS[0]) + packed_with_newline(b"<create/>"))
    client.half_close()
    replies = client.rest()
    (size,) = struct.unpack("<I", replies[:4])
    assert replies[4 : 4 + size].endswith(b"</results>")
    assert replies[4 + size :] == packed_with_newline(DECLARATION.strip() + b"<results></results>")
