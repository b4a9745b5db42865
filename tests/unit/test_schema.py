"""The schemas know exactly the documents that the gateway understands, and every reply that it writes."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from pgbourse.schema import NotValid, schema_folder, validate
from pgbourse.wire.messages import Refusal, parse

_NUMBERS = [
    "5",
    "-5",
    "+5.50",
    "0",
    "-0",
    "0.0",
    "1e5",
    "",
    " 5",
    "9" * 18,
    "9" * 19,
    "." + "5",
    "0." + "0" * 19 + "1",
]
_SYMBOLS = ["SPY", "a1", "", "S P", "S" * 255, "S" * 256]
_REFS = ["a7", "a.B_7-:", "", "a b", "r" * 64, "r" * 65, "é"]
_IDS = ["1", "007", "", "x", "-1"]
_FLAGS = ["true", "false", "True", "1", ""]
_WHOLE = ["0", "1", "060", "1000", "1001", "86400", "86401", "-1", "1.5", ""]
_ATTRIBUTES = {
    "sym": _SYMBOLS,
    "amount": _NUMBERS,
    "limit": _NUMBERS,
    "type": ["limit", "market", "Market"],
    "budget": _NUMBERS,
    "ref": _REFS,
    "tif": ["GTC", "IOC", "FOK", "ioc"],
    "post": _FLAGS,
    "stp": ["taker", "maker", "both", "none"],
    "id": _IDS,
    "of": _REFS,
    "open": _NUMBERS,
    "to": _NUMBERS,
    "shares": _NUMBERS,
    "all": _FLAGS,
    "after": _WHOLE,
    "max": _WHOLE,
    "depth": _WHOLE,
}
_ORDER = ["sym", "amount", "limit", "type", "budget", "ref", "tif", "post", "stp"]
# The attributes that each element knows. sym and after of <cancel> are known together with all alone.
_ELEMENTS = {
    "order": _ORDER,
    "replace": ["id", "of", "amount", "limit", "ref", "tif", "post", "stp", "open"],
    "reduce": ["id", "ref", "to", "shares"],
    "query": ["id", "ref"],
    "cancel": ["id", "ref", "all", "sym", "after"],
    "account": [],
    "orders": ["sym", "after", "max"],
    "book": ["sym", "depth"],
    "server": [],
}
# Attributes that make an element whole, so that what else is drawn decides.
_WHOLE_ONES = {
    "order": [
        {"sym": "A", "amount": "5", "limit": "2"},
        {"sym": "A", "amount": "5", "type": "market", "budget": "2"},
    ],
    "replace": [{"id": "1", "amount": "5", "limit": "2"}, {"of": "a", "amount": "-5", "limit": "2"}],
    "reduce": [{"id": "1", "to": "0"}, {"ref": "a", "shares": "5"}],
    "query": [{"id": "1"}, {"ref": "a"}],
    "cancel": [{"id": "1"}, {"all": "true"}, {"all": "true", "sym": "A"}],
}


@st.composite
def children(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A child of <transactions> with attributes that it knows."""
    name = draw(st.sampled_from(list(_ELEMENTS)))
    attributes = dict(draw(st.sampled_from(_WHOLE_ONES.get(name, [{}]))))
    if attributes and not draw(st.integers(0, 5)):
        attributes.pop(draw(st.sampled_from(sorted(attributes))))
    known = _ELEMENTS[name]
    for attribute in draw(st.lists(st.sampled_from(known), max_size=3)) if known else []:
        attributes[attribute] = draw(st.sampled_from(_ATTRIBUTES[attribute]))
    return name, attributes


def is_valid(document: bytes) -> bool:
    try:
        validate(document)
    except NotValid:
        return False
    return True


@settings(max_examples=1500, deadline=None)
@given(children())
def test_what_is_valid_is_what_the_gateway_understands(child: tuple[str, dict[str, str]]) -> None:
    name, attributes = child
    root = etree.Element("transactions", {"id": "1"})
    root.append(etree.Element(name, attributes))
    document = etree.tostring(root)
    if name == "cancel" and attributes.get("all") != "true" and {"sym", "after"} & attributes.keys():
        return  # the gateway ignores what the schema takes for a mistake
    assert is_valid(document) == (not any(isinstance(one, Refusal) for one in parse(document).children))


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ("<create/>", True),
        ('<create codes="true"><server/><account id="007" balance="-0.0"/><symbol sym="S"/></create>', True),
        ('<create><symbol sym="S"><account id="1">\n 5.5\t</account></symbol></create>', True),
        ('<create><symbol sym="S"><account id="1">0</account></symbol></create>', False),
        ('<create><symbol sym="S"><account id="1">5<b/></account></symbol></create>', False),
        ('<create><account id="1"/></create>', False),
        ('<create><order sym="A" amount="1" limit="1"/></create>', False),
        ('<transactions id="1"/>', True),
        ("<transactions/>", False),
        ("<transactions><server/></transactions>", True),
        ("<transactions><account/></transactions>", False),
        ('<transactions id="1" codes="yes"/>', False),
        ('<transactions id="1"><account id="1" balance="1"/></transactions>', False),
        ('<transactions id="1"><order sym="A" amount="1" limit="1" TIF="IOC"/></transactions>', False),
        ("<results></results>", True),
        ("<results><error>no</error></results>", True),
        ("<results><error></error></results>", False),
        ('<results><error code="Not a word">no</error></results>', False),
        ('<results><opened sym="A" amount="+1" limit="1.50" id="1"/></results>', True),
        ('<results><opened sym="A" amount="+1" limit="1.50"/></results>', False),
        (
            '<results><opened sym="A" amount="1" limit="1" id="1" executed="1.0" canceled="0"/></results>',
            False,
        ),
        (
            '<results><status id="1"><open shares="1"/><canceled shares="1" time="1"/></status></results>',
            False,
        ),
        (
            '<results><status id="1"><reduced shares="1" time="1"/><open shares="1"/></status></results>',
            False,
        ),
    ],
)
def test_documents(document: str, valid: bool) -> None:
    assert is_valid(document.encode()) == valid


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("<create>", "not readable as XML: Premature end of data"),
        (
            '<transactions id="1">\n<order sym="A" amount="1" limit="1" tif="ioc"/></transactions>',
            "line 2: Element 'order', attribute 'tif': [facet 'enumeration'] The value 'ioc' is not",
        ),
        (
            '<transactions id="1"><query id="1"/>\n\n<query id="1" ref="a"/></transactions>',
            "line 3: <query>: an attribute is missing, or some contradict each other",
        ),
        ("<!DOCTYPE create><create/>", "line 1: a DOCTYPE is not allowed"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(document: str, says: str) -> None:
    with pytest.raises(NotValid, match=f"^{re.escape(says)}"):
        validate(document.encode())


def test_both_schemas_are_by_hand_and_in_docs() -> None:
    assert schema_folder() == Path(__file__).parents[2] / "docs"


# Children with one mistake each, and the same without it.
_MISTAKES = [
    '<order sym="A" amount="5" limit="2" post="true" tif="IOC"/>',
    '<order sym="A" amount="5" limit="2" post="true" tif="GTC"/>',
    '<order sym="A" amount="5" limit="2" budget="2"/>',
    '<order sym="A" amount="5" type="market" budget="2" tif="GTC"/>',
    '<order sym="A" amount="5" type="market"/>',
    '<order sym="A" amount="-5" type="market" budget="2"/>',
    '<order sym="A" amount="5" limit="2" tif="ioc"/>',
    '<query id="1" ref="a"/>',
    '<query ref="a"/>',
    "<book/>",
    '<book sym="A" depth="1001"/>',
    '<cancel all="true" id="1"/>',
    '<cancel all="true" after="5" sym="A"/>',
    '<reduce id="1" to="1" shares="1"/>',
    '<replace id="1" of="a" amount="5" limit="2"/>',
]


def differing() -> list[str]:
    """The children of which the schema says something else than what reads documents."""
    documents = {child: f'<transactions id="1">{child}</transactions>'.encode() for child in _MISTAKES}
    return [
        child
        for child, document in documents.items()
        if is_valid(document) == any(isinstance(one, Refusal) for one in parse(document).children)
    ]


def test_mistakes_are_found_by_both() -> None:
    assert differing() == []


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("pgbourse.wire.terms._refuse_resting", lambda _: None),
        ("pgbourse.wire.terms._Said.order_id", lambda *_: 1),
        ("pgbourse.wire.terms._Said.__contains__", lambda *_: False),
        ("pgbourse.wire.fields.Field.problem", lambda *_: None),
    ],
)
def test_a_reader_that_overlooks_a_mistake_is_found_out(
    monkeypatch: pytest.MonkeyPatch, place: str, broken: Any
) -> None:
    monkeypatch.setattr(place, broken)
    assert differing() != []
