"""The values allowed in a request's attributes, and the errors for others.

The rules are those of docs/protocol.md. A number stays the text that the client wrote: PostgreSQL reads it
exactly.
"""

import re
from dataclasses import dataclass

__all__ = [
    "ACCOUNT_ID",
    "AFTER",
    "AMOUNT",
    "BALANCE",
    "BUDGET",
    "CANCELED",
    "DEPTH",
    "FLAG",
    "LEFT_OPEN",
    "LIMIT",
    "MAX",
    "MAX_ORDER_ID",
    "OPEN",
    "ORDER_ID",
    "REF",
    "SECONDS",
    "SHARES",
    "STP",
    "SYM",
    "TIF",
    "TYPE",
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
    """A kind of value: which texts are allowed, and how errors say so, to people and to programs."""

    allowed: re.Pattern[str]
    rule: str
    code: str
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

    def code_of(self, value: str | None) -> str:  # noqa: ARG002 - only some kinds look at the value
        """Return the code of the problem that a value has."""
        return self.code


class _OrderId(Field):
    def problem(self, name: str, value: str | None) -> str | None:
        problem = super().problem(name, value)
        if problem is None and value is not None and order_number(value) is None:
            # In the words that the database has for an id that it can hold.
            return f"no such order: {shorten(value.lstrip('0'))}"
        return problem

    def code_of(self, value: str | None) -> str:
        return "unknown_order" if value and self.allowed.fullmatch(value) else self.code


def _words(code: str, *words: str) -> Field:
    """Return a field that holds one of a few words, as they are spelt here."""
    *most, last = words
    return Field(re.compile("|".join(words)), f"{', '.join(most)} or {last}", code)


def _whole(code: str, what: str, numbers: str, rule: str) -> Field:
    """Return a field that holds a whole number; `numbers` are those allowed, without zeros in front."""
    return Field(re.compile(rf"0{{0,12}}(?:{numbers})"), f"{what}, {rule}", code)


ACCOUNT_ID = Field(re.compile("[0-9]{1,255}"), "1 to 255 decimal digits", "invalid_account")
SYM = Field(re.compile(_SYM), "1 to 255 ASCII letters and digits", "invalid_symbol")
BALANCE = Field(re.compile(_ZERO_OR_MORE), "a number of 0 or more", "invalid_balance", is_number=True)
SHARES = Field(re.compile(_POSITIVE), "a number above 0", "invalid_amount", is_number=True)
AMOUNT = Field(
    re.compile(_NOT_ZERO), "a number above 0 to buy, below 0 to sell", "invalid_amount", is_number=True
)
LIMIT = Field(re.compile(_POSITIVE), "a number above 0", "invalid_limit", is_number=True)
ORDER_ID = _OrderId(re.compile("[0-9]+"), "an order's id, in decimal digits", "invalid_id")

# What an order can say beyond the base protocol,
REF = Field(re.compile(r"[A-Za-z0-9._\-:]{1,64}"), "1 to 64 ASCII letters, digits and . _ - :", "invalid_ref")
TYPE = _words("invalid_type", "limit", "market")
BUDGET = Field(re.compile(_POSITIVE), "a number above 0", "invalid_budget", is_number=True)
TIF = _words("invalid_tif", "GTC", "IOC", "FOK")
FLAG = _words("invalid_flag", "true", "false")
STP = _words("invalid_stp", "taker", "maker", "both")
# and the elements beyond it.
OPEN = Field(re.compile(_ZERO_OR_MORE), "a number of 0 or more", "invalid_open", is_number=True)
LEFT_OPEN = Field(re.compile(_ZERO_OR_MORE), "a number of 0 or more", "invalid_shares", is_number=True)
CANCELED = Field(re.compile(_POSITIVE), "a number above 0", "invalid_shares", is_number=True)
AFTER = Field(re.compile("[0-9]+"), "an order's id, in decimal digits", "invalid_id")
SECONDS = _whole(
    "invalid_seconds",
    "a whole number of seconds",
    "[0-9]{1,4}|[1-7][0-9]{4}|8[0-5][0-9]{3}|86[0-3][0-9]{2}|86400",
    "1 to 86,400, or 0 to disarm",
)
_TO_1000 = "[1-9][0-9]{0,2}|1000"
MAX = _whole("invalid_max", "a whole number", _TO_1000, "1 to 1,000")
DEPTH = _whole("invalid_depth", "a whole number", _TO_1000, "1 to 1,000")


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
