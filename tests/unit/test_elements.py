"""What XML allows is read as XML says, and what is dangerous in it is refused."""

import encodings
from xml.etree import ElementTree

import pytest

from pgbourse.wire import elements
from pgbourse.wire.elements import read_tree
from pgbourse.wire.messages import parse
from tests.unit.documents import one, refusal_of_all, refused

GRANT = '<create><symbol sym="AB"><account id="12">345</account></symbol></create>'


@pytest.mark.parametrize(
    "document",
    [
        '\ufeff<create><symbol sym="AB"><account id="12">345</account></symbol></create>',
        '<!-- c --><create><!-- <a> --><symbol sym="AB"><!-- c --><account id="12">3<!-- 9 -->45'
        "</account></symbol></create><!-- c -->",
        '<?p?><create><symbol sym="AB"><?p <a>?><account id="12">3<?p 9?>45</account></symbol></create>',
        '<create><symbol sym="AB"><account id="12"><![CDATA[3]]>4<![CDATA[5]]></account></symbol></create>',
        '<create><symbol sym="&#65;&#x42;"><account id="1&#50;">&#51;4&#x35;</account></symbol></create>',
        "<create\n><symbol\tsym = 'AB' ><account\r\nid='12' > 345\n</account\n></symbol ></create >\n",
        '<create><symbol sym="AB"><!-- <!DOCTYPE a [ --><account id="12">345</account></symbol></create>',
        '<create><symbol sym="AB"><account id="12">345</account></symbol><![CDATA[<!DOCTYPE]]></create>',
        '<?xml version="1.0" standalone="yes"?><create><symbol sym="AB"><account id="12">345</account>'
        "</symbol></create>",
    ],
)
def test_ways_to_write_the_same(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(document) == one(GRANT)
    monkeypatch.setattr(elements, "LARGE", 0)  # bytes from which on a document is read piece by piece
    assert one(document) == one(GRANT)


@pytest.mark.parametrize(
    "encoding",
    [
        *("UTF-8", "utf-8", "utf8", "US-ASCII", "ISO-8859-1", "latin1", "ISO-8859-15", "windows-1252"),
        *("windows-1251", "KOI8-R", "KOI8-U", "macintosh", "cp437", "Shift_JIS", "EUC-JP", "ISO-2022-JP"),
        *("EUC-KR", "GB2312", "GBK", "GB18030", "Big5", "UTF-16", "UTF-7"),
    ],
)
def test_encodings(encoding: str) -> None:
    # All characters that the encoding has, in a comment and in an attribute that is repeated.
    candidates = map(chr, (*range(0x20, 0x7F), *range(0xA0, 0xD800)))
    characters = "".join(
        character
        for character in candidates
        if character not in '<>&"-'
        and character.encode(encoding, "ignore").decode(encoding, "ignore") == character
    )[:2000]
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?><!--{characters}-->'
        f'<transactions id="1"><order sym="{characters}" amount="1" limit="1"/></transactions>'
    ).encode(encoding)
    child = one(document)
    assert ElementTree.fromstring(refused(child)).get("sym") == characters


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_utf_16(encoding: str, mark: str) -> None:
    assert one((mark + GRANT).encode(encoding)) == one(GRANT)
    declared = f'{mark}<?xml version="1.0" encoding="UTF-16"?>{GRANT}'
    assert one(declared.encode(encoding)) == one(GRANT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\0", "\0" * 500, "\0\n", "\r\n\0"])
def test_a_length_may_count_the_end_of_a_string_in_c(encoding: str, end: str) -> None:
    assert one((GRANT + end).encode(encoding)) == one(GRANT)


@pytest.mark.parametrize("document", ["<create>\0</create>", "<create/>\0<create/>", "\0<create/>"])
def test_a_nul_elsewhere_is_no_xml(document: str) -> None:
    assert "not readable as XML" in refusal_of_all(document)


@pytest.mark.parametrize(
    "encoding",
    ["klingon", "x" * 5000, "hex", "rot13", "zlib", "idna", "punycode", "unicode_escape", "undefined"],
)
def test_unknown_encodings(encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><create/>'
    shown = encoding if len(encoding) < 40 else f"{'x' * 40}... (5000 characters)"
    assert refusal_of_all(document) == f"the encoding '{shown}' is unknown: UTF-8 always works"


def test_no_memory_is_spent_on_the_names_of_unknown_encodings() -> None:
    known = 0
    for i in range(100):
        refusal_of_all(f'<?xml version="1.0" encoding="klingon{i}"?><create/>')
        one(f'<?xml version="1.0" encoding="Shift{"_" * i}JIS"?>{GRANT}')
        if i < 2:  # Shift_JIS is found with and without its dash; others may have been used before
            known = len(encodings._cache)
    assert len(encodings._cache) == known


def test_bytes_that_the_declared_encoding_does_not_have() -> None:
    document = b'<?xml version="1.0" encoding="shift_jis"?><create>\xff\xff</create>'
    assert refusal_of_all(document).startswith(
        "not readable as XML: 'shift_jis' codec can't decode byte 0xff"
    )


LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 20))


DOCTYPES = (
    "<!DOCTYPE create><create/>",
    "<!DOCTYPE create []><create/>",
    '<!DOCTYPE create SYSTEM "file:///etc/passwd"><create/>',
    '<!DOCTYPE create SYSTEM "http://127.0.0.1:1/x"><create/>',
    '<!DOCTYPE create PUBLIC "-//x//" "http://127.0.0.1:1/x"><create/>',
    '<!DOCTYPE create [<!ENTITY a SYSTEM "file:///etc/passwd">]><create>&a;</create>',
    '<!DOCTYPE create [<!ENTITY % a SYSTEM "http://127.0.0.1:1/x"> %a;]><create/>',
    '<!DOCTYPE create [<!ENTITY a "1">]><create><account id="&a;" balance="&a;"/></create>',
    f'<!DOCTYPE create [<!ENTITY a0 "ha">{LAUGHS}]><create>&a19;</create>',
    f'<!DOCTYPE create [<!ENTITY a0 "ha">{LAUGHS}]><create><account id="&a19;"/></create>',
    f'<!DOCTYPE create [<!ENTITY a0 "ha">{LAUGHS}<!ATTLIST create a CDATA "&a19;">]><create/>',
    "<!-- c --><!DOCTYPE create><create/>",
    "<!DOCTYPE create [ is refused before it is read",
)


@pytest.mark.parametrize("document", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "UTF-7", "Shift_JIS"])
def test_a_doctype_is_refused(document: str, encoding: str) -> None:
    if encoding in ("UTF-7", "Shift_JIS"):
        document = f'<?xml version="1.0" encoding="{encoding}"?>{document}'
    encoded = document.encode(encoding)
    if encoding == "UTF-7":
        encoded = encoded.replace(b"<!DOCTYPE", b"+ADwAIQ-DOCTYPE")
    assert refusal_of_all(encoded) == "a DOCTYPE is not allowed: leave it out"


def test_a_large_document_is_never_there_as_a_whole() -> None:
    """A child lasts until the next one is taken."""
    document = b"<create>" + b"<a/> x" * elements.LARGE + b"</create>"
    root, children = read_tree(document, elements.LARGE)
    for count, _ in enumerate(children, 1):
        if count % 10_000 == 0:
            assert len(root) < 10_000
    assert count == elements.LARGE


def test_a_large_document_is_read_like_two_small_ones() -> None:
    orders = "".join(
        f'<order sym="S{n}" amount="{n}" limit="1"/><!-- {"é" * n} --> text <query id="{n}"/>'
        for n in range(1, 900)
    )
    small = [parse(f'<transactions id="1">{orders[a:b]}</transactions>'.encode()) for a, b in halves(orders)]
    large = parse(f'<?xml version="1.0"?>\n<transactions id="1">{orders}</transactions>'.encode())
    assert large.children == small[0].children + small[1].children
    assert large.requests == large.children


def halves(orders: str) -> list[tuple[int, int]]:
    middle = orders.index("<order", len(orders) // 2)
    return [(0, middle), (middle, len(orders))]


@pytest.mark.parametrize("filler", ["<!--" + "x" * 600_000 + "-->", "<query/>" * 80_000, " " * 600_000])
@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("</transaction>", "Opening and ending tag mismatch: transactions line 1 and transaction"),
        ("<order", "Couldn't find end of Start Tag order"),
        ("", "Premature end of data in tag transactions line 1"),
        ("</transactions>x", "Extra content at the end of the document"),
    ],
)
def test_what_is_wrong_with_a_large_document_is_told(filler: str, end: str, says: str) -> None:
    told = refusal_of_all(f'<transactions id="1">\n{filler}{end}')
    assert told.startswith(f"not readable as XML: {says}, line 2, column {len(filler)}"[:-2])


def test_an_element_may_not_have_any_number_of_attributes() -> None:
    attributes = " ".join(f'a{n}="1"' for n in range(60_000))
    no_tags = f"<!--{'<a>' * 10_000}--><![CDATA[{'<a>' * 10_000}]]>"
    assert refusal_of_all(f"<create><account {attributes}/>{no_tags}</create>") == (
        "the document has more than 8 attributes for each tag: leave out the unknown ones"
    )


@pytest.mark.parametrize(
    "document", ["<create><!-- <!DOCTYPE --></create>", "<!-- <!DOCTYPE create> --><?p <!DOCTYPE?><create/>"]
)
def test_a_doctype_that_is_none(document: str) -> None:
    assert parse(document.encode()).children == []


@pytest.mark.parametrize(
    "document",
    [
        b'<create><symbol sym="A">'
        + 50 * b'<account id="1">5</account>'
        + b"</symbol><account id='1'/></create>",
        b"<create><symbol>" + 50 * b'<account id="1">5</account>' + b"</symbol></create>",
        b'<create><symbol sym="">'
        + 50 * b'<account id="1">5<b/><c/><d/></account><x/>'
        + b"</symbol></create>",
        b'<create><symbol sym="A"><account id="1">5<b>'
        + 50 * b"<c/>"
        + b"</b><d/></account></symbol></create>",
        b"<create><symbol xmlns='u' sym='A'>" + 50 * b'<account id="1">5</account>' + b"</symbol></create>",
        b'<transactions id="1"><symbol>'
        + 50 * b"<query id='1'/>"
        + b"</symbol><query id='2'/></transactions>",
        b'<transactions id="1">' + 50 * b"<query id='1'><a/><a/></query>" + b"</transactions>",
        b'<x id="1">' + 50 * b"<y><z/><z/></y>" + b"</x>",
    ],
)
def test_a_document_in_pieces_means_what_it_means_as_a_whole(
    document: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parse(document)
    monkeypatch.setattr(elements, "LARGE", 0)
    for size in (1, 7, 100):
        monkeypatch.setattr(elements, "PIECE", size)
        assert parse(document) == whole
