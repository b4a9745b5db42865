"""The values allowed in a request's attributes, and the errors for others.

The rules are those of docs/protocol.md. A number stays the text that the client wrote: PostgreSQL reads it
exactly.
"""

import re
from dataclasses import dataclass

__all__ = [
    "ACCOUNT_ID",
    "AMOUNT",
    "BALANCE",
    "LIMIT",
    "MAX_ORDER_ID",
    "ORDER_ID",
    "SHARES",
    "SYM",
    "Field",
    "escape",
    "order_number",
    "shorten",
]

_DIGITS = (
    r"[0-9]{1,18}+(?:\.[0-9]{1,20}+)?+"  # up to 20 after the point: as many as programs print of a double
)
_POSITIVE = rf"\+?+(?=[0.]*+[1-9]){_DIGITS}"
_NOT_ZERO = rf"[+-]?+(?=[0.]*+[1-9]){_DIGITS}"
_ZERO_OR_MORE = rf"\+?{_DIGITS}|-0{{1,18}}(?:\.0{{1,20}})?"
_SYM = r"[A-Za-z0-9]{1,255}+"

_NUMBER = re.compile(rf"[+-]?{_DIGITS}")
_NUMBER_RULE = "it must be digits with an optional sign and point, at most 18 before and 20 after the point"

MAX_ORDER_ID = 2**63 - 1  # PostgreSQL's bigint

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Field:
    """A kind of value: which texts are allowed, and how errors say so."""

    allowed: re.Pattern[str]
    rule: str
    is_number: bool = False

    def problem(self, name: str, value: str | None) -> str | None:
        """Return what is wrong with a value (None if it is missing); the client knows it as `name`."""
        if value is None:
            return f"{name} is missing: it must be {self.rule}"
        if self.allowed.fullmatch(value):
            return None
        if self.is_number and not _NUMBER.fullmatch(value):
            return f"{name} '{shorten(value)}' is not a number: {_NUMBER_RULE}"
        return f"{name} '{shorten(value)}' is not allowed: it must be {self.rule}"


class _OrderId(Field):
    def problem(self, name: str, value: str | None) -> str | None:
        problem = super().problem(name, value)
        if problem is None and value is not None and order_number(value) is None:
            # In the words that the database has for an id that it can hold.
            return f"no such order: {shorten(value.lstrip('0'))}"
        return problem


ACCOUNT_ID = Field(re.compile("[0-9]{1,255}"), "1 to 255 decimal digits")
SYM = Field(re.compile(_SYM), "1 to 255 ASCII letters and digits")
BALANCE = Field(re.compile(_ZERO_OR_MORE), "a number of 0 or more", is_number=True)
SHARES = Field(re.compile(_POSITIVE), "a number above 0", is_number=True)
AMOUNT = Field(re.compile(_NOT_ZERO), "a number above 0 to buy, below 0 to sell", is_number=True)
LIMIT = Field(re.compile(_POSITIVE), "a number above 0", is_number=True)
ORDER_ID = _OrderId(re.compile("[0-9]+"), "an order's id, in decimal digits")


def order_number(text: str) -> int | None:
    """Return these digits as an id; None if no order can have it, because the database can't hold it."""
    digits = text.lstrip("0") or "0"
    number = int(digits) if len(digits) < 20 else MAX_ORDER_ID + 1  # int() refuses some thousands of digits
    return number if number <= MAX_ORDER_ID else None


def shorten(value: str) -> str:
    """Return a client's value for an error message; a long one is cut, and says so."""
    if len(value) <= _SHOWN_CHARACTERS:
        return value
    return f"{value[:_SHOWN_CHARACTERS]}... ({len(value)} characters)"


# Characters that must be escaped in an attribute's value or in text. A reply is one line, so newlines of any
# kind are among them.
_SPECIAL = re.compile('[&<>"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]')
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escape(text: str) -> str:
    """Escape text for an attribute's value in double quotes, or for an element's content.

    A character that no XML document may hold becomes U+FFFD.
    """
    return _SPECIAL.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    character = match.group()
    if _NOT_XML.match(character):
        return "\ufffd"
    return _ENTITIES.get(character) or f"&#{ord(character)};"
