"""Where a document ends that comes without its length."""

import re

import pytest

from pgbourse.wire import bare
from pgbourse.wire.bare import BareScanner
from pgbourse.wire.framing import Frame
from tests.unit.streams import BARE, every_cut, outcome

# Documents whose end is not the first thing that looks like it.
DOCUMENTS = [
    "<a>x</a>",
    "<a b='>' c=\"/>\"/>",
    "<a b='\"/>' c=\"'/>\"></a>",
    "<a ></a >",
    "<a\n/>",
    "<a><a/><a></a><b/></a>",
    "<ab><a></a></ab>",
    "<a><ab></ab><a.b/><a-b/><a:b/></a>",
    "<é><è></è></é>",
    "<日><本></本></日>",
    "<a>㸀㰀⼼⼾㼾</a>",  # in UTF-16 the bytes of these look like markup
    "<a b='㸀⼾'>\U0001f600\u0a0a</a>",
    "<?xml version='1.0'?><a/>",
    "<?p <a/> ?><a/>",
    "<?p '?><a>'</a>",
    "<a><?p </a> ? > ?></a>",
    "<!-- <a/> --><a/>",
    "<!-- it's \" -> -- --><a/>",
    "<!----><a/>",
    "<a><!-- </a> ' --></a>",
    "<a><!-- <![CDATA[ --></a>",
    "<a><![CDATA[</a>]]></a>",
    "<a><![CDATA[ ]] ]> ]]]]></a>",
    "<a><![CDATA[<!-- ]]></a>",
    "<a><![CDATA[]]></a>",
    "<a>it's > \" ]]&gt;</a>",
    "<!DOCTYPE a><a/>",
    "<!DOCTYPE a SYSTEM 'x>y'><a/>",
    "<!DOCTYPE a PUBLIC \"-//it's//\" 'x[\">'><a/>",
    "<!DOCTYPE a []><a/>",
    '<!DOCTYPE a [<!ENTITY b "]><a/>">]><a>&b;</a>',
    "<!DOCTYPE a [<!-- it's ]> --><!ENTITY b '\"'> <?p it's ]> ?> %c; ]><a/>",
    '<!DOCTYPE a [<!ELEMENT a (b)><!ATTLIST a b CDATA ">">] ><a/>',
    "<!DOCTYPE a [<!ENTITY b '<!-- '>]><a/>",
]


@pytest.mark.parametrize("text", DOCUMENTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le"])
def test_where_a_bare_document_ends(text: str, encoding: str) -> None:
    document = text.encode(encoding)
    if encoding == "utf-16-be":
        document = b"\xfe\xff" + document
    expected = [Frame(document, BARE), Frame(document, BARE), Frame(b"<z/>", BARE)]
    for pieces in every_cut(document + b"\n" + document + b"<z/>", 2):
        assert outcome(pieces) == (expected, None), pieces


@pytest.mark.parametrize(
    "encoding", ["iso-8859-15", "windows-1251", "shift_jis", "gb18030", "big5", "euc_kr"]
)
def test_where_a_document_in_another_encoding_ends(encoding: str) -> None:
    # Every character that the encoding has, with its lead and trail bytes.
    text = "".join(map(chr, range(0x80, 0xFFFF))).encode(encoding, "ignore")
    document = b'<?xml version="1.0" encoding="%b"?><a b="%b">%b</a>' % (encoding.encode(), text, text)
    assert outcome([document, document]) == ([Frame(document, BARE)] * 2, None)


@pytest.mark.parametrize(
    "document",
    [
        b"<a><b></a>",
        b"<a></b></a>",
        b"<a><b/></c></a>",
        b"</a>",
        b"</>",
        b"<>",
        b"< a>",
        b'<a b="><c/></a>',
        b'<a b=\'1"><c d="2"/></a>',
        b"<a><b c='></b></a>",
        b"<a <b/></a>",
        b"<a><b</a>",
        b"<a> 1 < 2 </a>",
        b"<a>&</a>",
    ],
)
def test_a_document_that_is_not_well_formed_still_ends(document: bytes) -> None:
    """A client that forgot an end tag or a quote gets a reply, and its next request is understood."""
    for pieces in every_cut(document + b"\n<z/>", 3):
        assert outcome(pieces) == ([Frame(document, BARE), Frame(b"<z/>", BARE)], None)


def test_long_names_are_told_apart_by_their_beginning() -> None:
    name = b"n" * 70
    document = b"<%b><%bx></%bx></%b>" % (name, name, name, name)
    for pieces in every_cut(document, 2):
        assert outcome([*pieces, b"<z/>"]) == ([Frame(document, BARE), Frame(b"<z/>", BARE)], None)


class CountingPattern:
    """A pattern that counts the bytes that it may have looked at."""

    def __init__(self, pattern: re.Pattern[bytes], work: list[int]) -> None:
        self._pattern = pattern
        self._work = work

    def _count(self, match: re.Match[bytes] | None, start: int, end: int) -> re.Match[bytes] | None:
        self._work[0] += 1 + (end if match is None else match.end()) - start
        return match

    def match(self, text: bytearray, start: int) -> re.Match[bytes] | None:
        return self._count(self._pattern.match(text, start), start, len(text))

    def search(self, text: bytearray, start: int) -> re.Match[bytes] | None:
        return self._count(self._pattern.search(text, start), start, len(text))


class CountingBuffer(bytearray):
    """A buffer that counts the bytes that its own searches have looked at."""

    work: list[int]

    def find(self, wanted: bytes, start: int) -> int:  # type: ignore[override]
        found = super().find(wanted, start)
        self.work[0] += 1 + (len(self) if found < 0 else found) - start
        return found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_one_byte_at_a_time_takes_linear_time(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = 100_000
    parts = [
        "<!--" + "-" * part + "-->",
        "<!DOCTYPE a [<!ENTITY b '" + "<" * part + "'>" + " " * part + "]>",
        "<a b='" + ">" * part + "' " + " " * part + ">",
        "<![CDATA[" + "]" * part + "]]>",
        "<?p " + "?" * part + "?>",
        "x" * part,
        "<" + "n" * part + "/>",
        '<order sym="X" amount="1" limit="1"/>' * (part // 36),
        "<" * (part // 4),
        "</a>",
    ]
    document = "".join(parts).encode(encoding)
    assert len(document) > 2**20 * 0.9
    work = [0]
    for name in ("MARKUP", "TAG_STOP", "DOCTYPE_STOP", "SUBSET_STOP", "DECLARATION_STOP"):
        monkeypatch.setattr(bare, name, CountingPattern(getattr(bare, name), work))
    monkeypatch.setattr(
        bare,
        "TAG_QUOTE_STOP",
        {quote: CountingPattern(pattern, work) for quote, pattern in bare.TAG_QUOTE_STOP.items()},
    )
    buffer = CountingBuffer()
    buffer.work = work
    scanner = BareScanner(document[:2])
    for i in range(len(document)):
        buffer.append(document[i])
        end = scanner.scan(buffer)
        assert end is None or i == len(document) - 1
    assert end == len(document)
    # A few looks at each byte; a scan that began anew with each would take 500,000 looks.
    assert work[0] < 6 * len(document)
