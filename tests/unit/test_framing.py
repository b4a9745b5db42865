"""Cutting a connection's bytes into documents: the same documents, however the network cuts the bytes."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbourse.wire.framing import Frame, Framer, Framing, wrap_reply
from tests.unit.streams import ALONE, BARE, BINARY, LIMIT, LINE, alone, binary, cut, every_cut, line, outcome

# Streams, and the documents in them.
GOOD: dict[str, tuple[bytes, list[tuple[bytes, Framing]]]] = {
    "length line": (b"4\n<a/>", [(b"<a/>", LINE)]),
    "length line, CRLF": (b"4\r\n<a/>", [(b"<a/>", LINE)]),
    "length line, leading zeros": (b"0004\n<a/>", [(b"<a/>", LINE)]),
    "length line, nothing": (b"0\n", [(b"", LINE)]),
    "length line, anything": (b"3\n\x00\n\xff", [(b"\x00\n\xff", LINE)]),
    "binary length": (b"\4\0\0\0\n<a/>", [(b"<a/>", BINARY)]),
    "binary length, nothing": (b"\0\0\0\0\n", [(b"", BINARY)]),
    "binary length alone": (b"\4\0\0\0<a/>", [(b"<a/>", ALONE)]),
    "binary length alone, UTF-8 mark": (b"\7\0\0\0\xef\xbb\xbf<a/>", [(b"\xef\xbb\xbf<a/>", ALONE)]),
    "binary length alone, space": (b"\5\0\0\0 <a/>", [(b" <a/>", ALONE)]),
    "binary length alone, CRLF": (b"\6\0\0\0\r\n<a/>", [(b"\r\n<a/>", ALONE)]),
    "binary length alone, twice": (b"\4\0\0\0<a/>\4\0\0\0<b/>", [(b"<a/>", ALONE), (b"<b/>", ALONE)]),
    "binary length alone, UTF-16": (
        b"\x0c\0\0\0" + "<ab/>".encode("utf-16"),
        [("<ab/>".encode("utf-16"), ALONE)],
    ),
    "binary length alone, UTF-16BE": (
        b"\x0a\0\0\0" + "\ufeff<a/>".encode("utf-16-be"),
        [("\ufeff<a/>".encode("utf-16-be"), ALONE)],
    ),
    "binary length, UTF-16": (
        b"\x0a\0\0\0\n" + "<a/>".encode("utf-16"),
        [("<a/>".encode("utf-16"), BINARY)],
    ),
    "length line, UTF-16": (b"10\n" + "<a/>".encode("utf-16"), [("<a/>".encode("utf-16"), LINE)]),
    "length line, UTF-8 mark": (b"7\n\xef\xbb\xbf<a/>", [(b"\xef\xbb\xbf<a/>", LINE)]),
    "NULs in a sized document": (b"5\n<a/>\0\6\0\0\0<a/>\0\0", [(b"<a/>\0", LINE), (b"<a/>\0\0", ALONE)]),
    "UTF-16, wide newlines and NULs": (
        "<a/>\n\0\ufeff<b/>\0".encode("utf-16"),
        [("<a/>".encode("utf-16"), BARE), ("<b/>".encode("utf-16"), BARE)],
    ),
    "a NUL": (b"\0", []),
    "a NUL, length line": (b"\x004\n<a/>\0", [(b"<a/>", LINE)]),
    "a NUL, bare": (b"\0<a/>\0<b/>\0", [(b"<a/>", BARE), (b"<b/>", BARE)]),
    "a NUL, binary": (b"\0\4\0\0\0\n<a/>\0", [(b"<a/>", BINARY)]),
    "a NUL, binary alone": (b"\0\4\0\0\0<a/>\0", [(b"<a/>", ALONE)]),
    "NULs and binary length, nothing": (b"\0\0\0\0\0\n<a/>", [(b"<a/>", BARE)]),
    "newlines and NULs": (
        b"\n\0\n\0\n\0\n\0\n<a/>\0\r\n\0\r\n\0\r\n<b/>",
        [(b"<a/>", BARE), (b"<b/>", BARE)],
    ),
    "bare": (b"<a/>", [(b"<a/>", BARE)]),
    "bare, twice": (b"<a/><b/>", [(b"<a/>", BARE), (b"<b/>", BARE)]),
    "bare, byte order mark": (b"\xef\xbb\xbf<a/>", [(b"\xef\xbb\xbf<a/>", BARE)]),
    "bare, mark and white space": (b"\xef\xbb\xbf \n<a/>", [(b"\xef\xbb\xbf \n<a/>", BARE)]),
    "white space, bare": (b" \t\r\n<a/>\r\n", [(b"<a/>", BARE)]),
    "line, bare": (b"4\n<a/><b/>", [(b"<a/>", LINE), (b"<b/>", BARE)]),
    "bare, line": (b"<b/>4\n<a/>", [(b"<b/>", BARE), (b"<a/>", LINE)]),
    "bare, binary": (b"<b/>\4\0\0\0\n<a/>", [(b"<b/>", BARE), (b"<a/>", BINARY)]),
    "binary, bare": (b"\4\0\0\0\n<a/><b/>", [(b"<a/>", BINARY), (b"<b/>", BARE)]),
    "white space, binary": (b"\n\4\0\0\0\n<a/>", [(b"<a/>", BINARY)]),
    "binary, white space, line": (b"\1\0\0\0\nx \r\n1\ny\n", [(b"x", BINARY), (b"y", LINE)]),
    "UTF-16LE": ("\ufeff<é/>".encode("utf-16-le"), [("\ufeff<é/>".encode("utf-16-le"), BARE)]),
    "UTF-16BE": ("\ufeff<é/>".encode("utf-16-be"), [("\ufeff<é/>".encode("utf-16-be"), BARE)]),
    "UTF-16LE, no mark": ("<é/>\n".encode("utf-16-le"), [("<é/>".encode("utf-16-le"), BARE)]),
    "UTF-16BE, no mark": ("<é/>\n".encode("utf-16-be"), [("<é/>".encode("utf-16-be"), BARE)]),
}

ALL_FOUR = b"4\n<a/>\0\4\0\0\0\n<b/>\r\n<c/>\0\n\4\0\0\0<d/>"

BAD = {
    "a letter": b"hello",
    "a negative length": b"-4\n<a/>",
    "a signed length": b"+4\n<a/>",
    "a length that is no number": b"4x\n<a/>",
    "a length with a space": b"4 \n<a/>",
    "a length with a point": b"4.0\n<a/>",
    "a carriage return without newline": b"4\r<a/>x",
    "a length line of 21 digits": b"0" * 20 + b"4\n<a/>",
    "a huge length": b"99999999999999999999\n",
    "a huge binary length": b"\xff\xff\xff\xff\n<a/>",
    "a negative binary length": b"\xfc\xff\xff\xff\n<a/>",
    "a binary length before what is no XML": b"\5\0\0\0hello",
    "a binary length alone": b"\4\0\0\0",
    "a NUL after a byte order mark": b"\xef\xbb\xbf\0<a/>",
    "a byte order mark before a length": b"\xef\xbb\xbf4\n<a/>",
    "UTF-32": "\ufeff<a/>".encode("utf-32-le"),
    "a document cut short": b"5\n<a/>",
    "a binary document cut short": b"\5\0\0\0\n<a/>",
    "a binary document without newline cut short": b"\5\0\0\0<a/>",
    "a NUL in a name that is cut short": b"<a\0/",
    "a length line cut short": b"4",
    "a root without its end": b"<a><b/>",
    "the beginning of a comment": b"<!-",
}


@pytest.mark.parametrize("stream", [stream for stream, _ in GOOD.values() if len(stream) <= 13])
def test_every_cut_of_a_short_stream_gives_the_same(stream: bytes) -> None:
    expected = outcome([stream])
    for mask in range(2 ** (len(stream) - 1)):
        pieces = cut(stream, [i + 1 for i in range(len(stream) - 1) if mask >> i & 1])
        assert outcome(pieces) == expected, pieces


@pytest.mark.parametrize(("stream", "documents"), GOOD.values(), ids=GOOD.keys())
def test_documents(stream: bytes, documents: list[tuple[bytes, Framing]]) -> None:
    expected = [Frame(*document) for document in documents]
    for pieces in every_cut(stream, 3):
        assert outcome(pieces) == (expected, None), pieces


def test_four_framings_on_one_connection() -> None:
    expected = [Frame(b"<a/>", LINE), Frame(b"<b/>", BINARY), Frame(b"<c/>", BARE), Frame(b"<d/>", ALONE)]
    for pieces in every_cut(ALL_FOUR, 4):
        assert outcome(pieces) == (expected, None), pieces


def test_documents_are_pipelined_in_order() -> None:
    stream = b"".join(line(b"<a>%d</a>" % i) + b"<b>%d</b>" % i for i in range(1000))
    framer = Framer(LIMIT)
    documents = [frame.document for frame in framer.feed(stream)]
    assert documents == [b"<%c>%d</%c>" % (name, i, name) for i in range(1000) for name in b"ab"]
    assert framer.buffered == 0


@pytest.mark.parametrize("stream", BAD.values(), ids=BAD.keys())
def test_bad_frames(stream: bytes) -> None:
    frames, error = outcome([stream])
    assert frames == []
    assert error
    for pieces in every_cut(stream, 3):
        assert outcome(pieces) == ([], error), pieces


@pytest.mark.parametrize(("good", "documents"), GOOD.values(), ids=GOOD.keys())
def test_documents_before_a_bad_frame_are_delivered(
    good: bytes, documents: list[tuple[bytes, Framing]]
) -> None:
    framer = Framer(LIMIT)
    frames = framer.feed(good + b"\n-12345678")
    assert frames == [Frame(*document) for document in documents]
    assert framer.error is not None
    assert framer.feed(good) == framer.finish() == []
    assert (framer.buffered, framer.mid_frame) == (0, False)


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (
            b"hello",
            "a request can't begin with 'hell': it begins with its length (decimal digits and a newline,",
        ),
        (b"-4\n<a/>", r"a request can't begin with '-4\n<': "),
        (b"12x\n", "a length line can't begin with '12x': it is 1 to 20 decimal digits and a newline"),
        (b"101\n", "a document of 101 bytes is over the limit of 100 bytes"),
        (b"\0\0\1\0\n", "a document of 65536 bytes is over the limit of 100 bytes"),
        (b"<a>" + b" " * 98, "a document of more than 100 bytes is over the limit"),
        (b"9\n<a/>", "the input ended within a request, after 4 of 9 bytes of it"),
        (b"\x09\0\0\0\n<a/>", "the input ended within a request, after 4 of 9 bytes of it"),
        (b"\x20\0\0\0\n<a", "the input ended within a request, after 2 of 32 bytes of it"),
        (b"\x09\0\0\0<a/>", "the input ended within a request, after 4 of 9 bytes of it"),
        (b"<a>", "the input ended within a request, after 3 bytes of it"),
    ],
)
def test_errors_say_what_was_wrong_and_what_is_allowed(stream: bytes, says: str) -> None:
    _, error = outcome([stream], limit=100)
    assert error is not None
    assert says in error


# Binary lengths whose bytes look like something else.
LOOKS = sorted({*b"0139 \t\r\n<-", 0xEF, 0xBB, 0xBF, 0xFE, 0xFF, 0, 1, 0x7F, 0x80})


@pytest.mark.parametrize("low", LOOKS)
@pytest.mark.parametrize(("wrap", "framing"), [(binary, BINARY), (alone, ALONE)])
def test_binary_lengths_that_look_like_text(
    low: int, wrap: Callable[[bytes], bytes], framing: Framing
) -> None:
    spaces = (b"", b"\n", b"\r\n", b"\n\r\n", b" \t\r\n", b"\n" * 9, b"\0", b"\0\0", b"\n\0", b"\0" * 9)
    for middle, space in itertools.product(LOOKS, spaces):
        length = low + 256 * middle
        if length == 0 and (wrap is alone or space.endswith(b"\0")):
            continue  # these are NULs that separate
        document = (b"<a>" + bytes(length))[:length]
        stream = space + wrap(document) + line(b"<b/>")
        for places in ((), (1,), (2,), (3,), (4,), (5,), range(1, 20)):
            frames, error = outcome(cut(stream, places), 1 << 16)
            assert error is None
            assert frames == [Frame(document, framing), Frame(b"<b/>", LINE)], (stream[:20], places)


@pytest.mark.parametrize(
    "length", [0x0A0000, 0x0A0009, 0x0A0020, 0x0A003C, 0x0A00FF, 0x0A00, 0x3C0A00, 0x200A00]
)
@pytest.mark.parametrize("space", [b"", b"\n", b"\n\n", b"\r\n\r\n", b"\n\n\n", b" \n\n\n\n"])
def test_white_space_before_a_binary_length_is_no_part_of_it(length: int, space: bytes) -> None:
    stream = space + binary(b"<a/>".ljust(length))
    for pieces in ([stream], cut(stream, range(1, 20))):
        frames, error = outcome(pieces)
        assert ([len(frame.document) for frame in frames], error) == ([length], None)


@pytest.mark.parametrize("length", [0x09FEFF, 0x0AFEFF, 0x20FEFF, 0xFFFE, 0xBFBBEF, 0x3CFEFF, 0xFFFFFF])
def test_binary_lengths_that_look_like_a_byte_order_mark(length: int) -> None:
    stream = binary(b"<a/>".ljust(length))
    for pieces in ([stream], cut(stream, range(1, 20))):
        assert [len(frame.document) for frame in outcome(pieces)[0]] == [length]


@pytest.mark.parametrize("separators", [b" \r\n\t", b"\0\0\0\0", b"\n\0\n\0", b"\r\n\0\0"])
def test_separators_are_no_request(separators: bytes) -> None:
    framer = Framer(LIMIT)
    for _ in range(1000):
        assert framer.feed(separators * 1000) == []
        assert framer.buffered < 8
    assert not framer.mid_frame
    assert framer.feed(b"\0\0\0\0\0\n<a>") == []
    assert framer.mid_frame
    assert framer.feed(b"</a>") == [Frame(b"<a></a>", BARE)]
    assert not framer.mid_frame
    assert framer.finish() == []
    assert framer.error is None


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_white_space_after_utf_16(encoding: str) -> None:
    document = "\ufeff<a>\r\n</a>".encode(encoding)
    space = "\r\n \n\n\n\n".encode(encoding)
    for following in (document, "<b/>".encode(encoding), b"<b/>", line(b"<b/>"), binary(b"<b/>")):
        (alone,), _ = outcome([following])
        for pieces in every_cut(document + space + following, 2):
            assert outcome(pieces) == ([Frame(document, BARE), alone], None), pieces
    framer = Framer(LIMIT)
    assert len(framer.feed(document + space)) == 1
    assert not framer.mid_frame


@pytest.mark.parametrize("wrap", [line, binary, alone, bytes], ids=["line", "binary", "alone", "bare"])
def test_the_limit(wrap: Callable[[bytes], bytes]) -> None:
    fits, exceeds = (b"<a>" + b"x" * n + b"</a>" for n in (93, 94))
    for pieces in every_cut(wrap(fits) + b"\n", 2):
        frames, error = outcome(pieces, 100)
        assert ([frame.document for frame in frames], error) == ([fits], None)
    for pieces in every_cut(wrap(exceeds), 2):
        frames, error = outcome(pieces, 100)
        assert frames == []
        assert error is not None
        assert "over the limit" in error


@pytest.mark.parametrize(
    ("start", "filler"),
    [(b"", b"1"), (b"101\n", b"x"), (b"\xff\0\0\0\n", b"x"), (b"<a>", b"x"), (b"<a", b"n"), (b"<!--", b"-")],
)
def test_memory_is_bounded(start: bytes, filler: bytes) -> None:
    """What can't become a good request is an error at once, not when it ends."""
    framer = Framer(100)
    framer.feed(start)
    for _ in range(100):
        framer.feed(filler)
        assert framer.buffered <= 100
    assert framer.error is not None
    assert framer.buffered == 0


# Longer streams, at random.

XML_TEXT = st.text(st.sampled_from("ab '\">-]?!/[é日㸀⼼\n"), max_size=8)
NAMES = st.sampled_from(["a", "ab", "b", "é", "日", "create", "a:b"])


def attributes() -> st.SearchStrategy[str]:
    double = XML_TEXT.map(lambda text: ' x="{}"'.format(text.replace('"', "")))
    single = XML_TEXT.map(lambda text: " y='{}'".format(text.replace("'", "")))
    return st.one_of(st.just(""), double, single, st.tuples(double, single).map("\n".join))


MISCELLANY = st.one_of(
    XML_TEXT.map(lambda text: f"<!--{text.replace('-', '<')}-->"),
    XML_TEXT.map(lambda text: f"<?p {text.replace('?', '<')}?>"),
)
CONTENT = st.one_of(
    XML_TEXT,
    MISCELLANY,
    XML_TEXT.map(lambda text: f"<![CDATA[<{text.replace(']', ']] ')}]]>"),
)


def element(content: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    full = st.tuples(NAMES, attributes(), st.lists(content, max_size=4)).map(
        lambda parts: f"<{parts[0]}{parts[1]}>{''.join(parts[2])}</{parts[0]}>"
    )
    return st.one_of(full, st.tuples(NAMES, attributes()).map(lambda parts: f"<{parts[0]}{parts[1]}/>"))


ELEMENTS = element(st.recursive(CONTENT, element, max_leaves=6))
BARE_DOCUMENTS = st.tuples(
    st.lists(MISCELLANY, max_size=2).map("".join),
    ELEMENTS,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
).map(lambda parts: (parts[0] + parts[1]).encode(parts[2]))

REQUESTS = st.one_of(
    BARE_DOCUMENTS.map(lambda document: (document, Frame(document, BARE))),
    st.binary(max_size=40).map(lambda rest: (line(b"<a" + rest), Frame(b"<a" + rest, LINE))),
    st.binary(max_size=40).map(lambda rest: (line(b"<a" + rest, b"\r\n"), Frame(b"<a" + rest, LINE))),
    st.binary(max_size=200).map(lambda rest: (binary(b"<a" + rest), Frame(b"<a" + rest, BINARY))),
    st.binary(max_size=200).map(lambda rest: (alone(b"<a" + rest), Frame(b"<a" + rest, ALONE))),
)
SPACES = st.sampled_from(
    [b"", b"\n", b"\r\n", b" \t\r\n\n\n\n", b"\n\n\n", b"\0", b"\0\0", b"\n\0", b"\0\r\n", b"\0" * 9]
)


@settings(deadline=None)
@given(st.data(), st.lists(st.tuples(SPACES, REQUESTS), max_size=6), SPACES)
def test_streams(
    data: st.DataObject, requests: list[tuple[bytes, tuple[bytes, Frame]]], space: bytes
) -> None:
    # After a NUL, UTF-16LE without a mark is UTF-16BE.
    befores = (before.strip(b"\0") if wire[1:2] == b"\0" else before for before, (wire, _) in requests)
    stream = b"".join(before + wire for before, (_, (wire, _)) in zip(befores, requests, strict=True)) + space
    expected = [frame for _, (_, frame) in requests]
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    for pieces in ([stream], cut(stream, places), cut(stream, range(1, len(stream)))):
        assert outcome(pieces) == (expected, None)


ANYTHING = st.lists(
    st.sampled_from([bytes([byte]) for byte in b"\0\n\r <>/!-[]?'\"a1\xef\xbb\xbf\xfe\xff\5"])
    | st.sampled_from(
        [b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<a>", b"</a>", b"<!DOCTYPE", b"\0\0\0\n", b"3\n"]
    ),
    max_size=40,
).map(b"".join)


@settings(deadline=None)
@given(st.data(), ANYTHING)
def test_any_bytes_give_the_same_however_they_are_cut(data: st.DataObject, stream: bytes) -> None:
    expected = outcome([stream], 30)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    assert outcome(cut(stream, places), 30) == expected
    assert outcome(cut(stream, range(1, len(stream))), 30) == expected


def test_replies() -> None:
    reply = "<results>é</results>".encode()
    assert wrap_reply(reply, None) == reply + b"\n"
    assert wrap_reply(reply, BARE) == reply + b"\n"
    assert wrap_reply(reply, LINE) == b"21\n" + reply
    assert wrap_reply(reply, BINARY) == b"\x15\0\0\0\n" + reply
    assert wrap_reply(reply, ALONE) == b"\x15\0\0\0" + reply
    for framing in Framing:
        assert outcome([wrap_reply(reply, framing)] * 2) == ([Frame(reply, framing)] * 2, None)
