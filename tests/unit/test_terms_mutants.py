"""The tests of what is beyond the base protocol fail on a gateway that reads or answers it otherwise."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from pgbourse.wire import elements, fields, messages, replies, terms
from tests.unit import test_terms as tests

Patch = pytest.MonkeyPatch


def reading(child: str, name: str, change: Callable[[Any], Any]) -> Callable[[Patch], None]:
    """Change something by which a child is read beyond the base protocol: `_make`, `_rules` or `_flags`."""

    def apply(patch: Patch) -> None:
        reader: Any = terms.CHILDREN[child]
        reader = getattr(reader, "_beyond", reader)
        patch.setattr(reader, name, change(getattr(reader, name)))

    return apply


def rule(child: str, attribute: str, allowed: str) -> Callable[[Patch], None]:
    """Allow other values of an attribute."""

    def change(rules: dict[str, fields.Field]) -> dict[str, fields.Field]:
        old = rules[attribute]
        return {**rules, attribute: fields.Field(re.compile(allowed), old.rule, old.code, old.is_number)}

    return reading(child, "_rules", change)


def overlooking(child: str, *attributes: str) -> Callable[[Patch], None]:
    """Read a child as if attributes that contradict others weren't there."""

    def change(make: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(said: Any, echo: str) -> Any:
            for name in attributes:
                for values in (said._values, said._written):
                    if len(values) > 1:
                        values.pop(name, None)
            return make(said, echo)

        return wrapped

    return reading(child, "_make", change)


def setting(where: Any, name: str, value: Any) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(where, name, value)


def writing(name: str, pattern: str, replacement: str) -> Callable[[Patch], None]:
    """Write a result otherwise."""

    def apply(patch: Patch) -> None:
        write = getattr(replies, name)

        def wrapped(*arguments: Any) -> str:
            return re.sub(pattern, replacement, write(*arguments))

        writers = {action: wrapped if kept is write else kept for action, kept in replies._WRITERS.items()}
        patch.setattr(replies, name, wrapped)
        patch.setattr(replies, "_WRITERS", writers)

    return apply


class AnyCase:
    """An element whose attributes count in any case."""

    def __init__(self, element: Any) -> None:
        self.element = element

    def keys(self) -> list[str]:
        return [name.lower() for name in self.element.keys()]  # noqa: SIM118 - an element is no dict

    def get(self, name: str) -> str | None:
        return dict(zip(self.keys(), self.element.values(), strict=True)).get(name)


def names_in_any_case(patch: Patch) -> None:
    order: Any = terms.CHILDREN["order"]
    patch.setattr(
        type(order),
        "read",
        lambda self, element, account_id: super(type(order), self).read(AnyCase(element), account_id),
    )


def server_asks_who(patch: Patch) -> None:
    patch.setattr(type(terms.SERVER), "refuse", lambda *words: messages.Refusal("", *words[2:]))


def a_look_whatever_it_says(patch: Patch) -> None:
    account: Any = type(terms.CHILDREN["account"])
    patch.delattr(account, "read")


wrong = tests.test_terms_that_are_wrong
MUTANTS: dict[str, tuple[Callable[[Patch], None], Callable[[], None]]] = {
    # For all of it.
    "values in any case": (
        rule("order", "tif", "(?i:GTC|IOC|FOK)"),
        partial(wrong, 'tif="ioc"', "tif 'ioc' is not allowed"),
    ),
    "a flag in any case": (
        rule("order", "post", "(?i:true|false)"),
        partial(wrong, 'post="True"', "post 'True' is not allowed"),
    ),
    "names in any case": (
        names_in_any_case,
        partial(tests.test_an_order_that_says_nothing_more_is_a_plain_one, 'TIF="IOC"'),
    ),
    "false is something": (
        reading("order", "_flags", lambda _: []),
        partial(tests.test_an_order_that_says_nothing_more_is_a_plain_one, 'post="false"'),
    ),
    "post and IOC": (
        setting(terms, "_refuse_resting", lambda _: None),
        partial(wrong, 'post="true" tif="IOC"', "post and tif IOC contradict each other"),
    ),
    "results repeat in another order": (
        reading("order", "_rules", lambda rules: dict(reversed(rules.items()))),
        tests.test_what_is_repeated_comes_in_one_order,
    ),
    "errors repeat less": (
        reading("cancel", "_rules", lambda rules: {k: v for k, v in rules.items() if k != "sym"}),
        tests.test_an_error_repeats_what_is_known_of_its_child,
    ),
    "what is passed comes before what is cancelled": (
        writing("_opened", r'( canceled="[^"]*")( passed="[^"]*")', r"\2\1"),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "duplicate stands first": (
        writing("_opened", r'^<opened(.*)( duplicate="true")', r"<opened\2\1"),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "numbers with zeros at the end": (
        setting(replies, "_number", lambda text: text or ""),
        tests.test_results_of_looks,
    ),
    "a server that asks who": (
        server_asks_who,
        partial(tests.test_the_server_tells_what_it_can_do, 'transactions id="?"'),
    ),
    "a feature isn't told": (
        setting(terms, "_FEATURES", "codes ref"),
        partial(tests.test_the_server_tells_what_it_can_do, "create"),
    ),
    "no codes": (setting(replies, "_result_with_code", replies._result), tests.test_codes),
    "codes of the database's errors alone": (
        setting(replies, "_without_database", lambda child, _: replies._error(child.echo, child.message, "")),
        tests.test_codes,
    ),
    "codes of other errors unasked": (
        setting(replies, "_error", lambda echo, *_: f'<error{echo} code="x"/>'),
        tests.test_codes,
    ),
    "a code stands first": (
        writing("_error", r'^<error(.*)( code="[^"]*")>', r"<error\2\1>"),
        tests.test_codes,
    ),
    "whatever codes are": (
        setting(fields.Field, "problem", lambda *_: None),
        tests.test_codes_are_true_or_false,
    ),
    "no code where the document is too large": (
        setting(elements, "_read_root", lambda _: None),
        tests.test_the_code_of_a_document_with_too_much_in_it,
    ),
    "no code behind a DOCTYPE": (
        setting(elements, "_DOCTYPE", re.compile(b"never")),
        partial(
            tests.test_codes_of_the_gateway, '<!DOCTYPE create><create codes="true"></create>', "malformed"
        ),
    ),
    # Which order is meant.
    "an id counts more than a ref": (overlooking("query", "ref"), tests.test_query_and_cancel_by_ref),
    "a ref counts more than an id": (overlooking("cancel", "id"), tests.test_query_and_cancel_by_ref),
    "a ref is answered without its id": (
        setting(replies, "_named", lambda request, _: request.echo),
        tests.test_results_by_ref,
    ),
    # Changing an order.
    "to counts more than shares": (overlooking("reduce", "shares"), tests.test_reduce),
    "no shares may be cancelled": (rule("reduce", "shares", "[0-9.]+"), tests.test_reduce),
    "to may not be 0": (rule("reduce", "to", "[1-9][0-9.]*"), tests.test_reduce),
    "to may be below 0": (rule("reduce", "to", "-?[0-9.]+"), tests.test_reduce),
    "a replace may name a symbol": (
        overlooking("replace", "sym"),
        partial(
            tests.test_replaces_that_are_wrong,
            'id="5" amount="1" limit="1" sym="A"',
            "sym is not for &lt;replace&gt;",
        ),
    ),
    "a replace may have a type": (
        overlooking("replace", "type"),
        partial(
            tests.test_replaces_that_are_wrong,
            'id="5" amount="1" limit="1" type="limit"',
            "type is not for &lt;replace&gt;",
        ),
    ),
    "a replace may have a budget": (
        overlooking("replace", "budget"),
        partial(
            tests.test_replaces_that_are_wrong,
            'id="5" amount="1" limit="1" budget="1"',
            "budget is not for &lt;replace&gt;",
        ),
    ),
    "a condition is dropped": (overlooking("replace", "open"), tests.test_replace),
    "a replace doesn't say of which symbol": (
        writing("_opened", r' sym="[^"]*"', ""),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "what is replaced isn't told": (
        writing("_opened", r' replaced="[^"]*"', ""),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "what a replace released isn't told": (
        writing("_opened", r' released="[^"]*"', ""),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "all counts more than an id": (overlooking("cancel", "id", "ref"), tests.test_cancel_all),
    "all may be anything": (rule("cancel", "all", ".*"), tests.test_cancel_all),
    "the symbol isn't repeated": (
        writing("_canceled_all", r' sym="[^"]*"', ""),
        tests.test_results_of_cancel_all,
    ),
    "what is cancelled isn't counted": (
        writing("_canceled_all", r' count="[^"]*"', ""),
        tests.test_results_of_cancel_all,
    ),
    "a hundred are told of all": (
        writing("_canceled_all", r"((?:<order [^>]*>){100})(?:<order [^>]*>)+", r"\1"),
        tests.test_a_long_list_of_what_was_cancelled,
    ),
    "a switch for one symbol": (
        overlooking("cancel", "sym"),
        partial(tests.test_seconds_that_are_wrong, "86401"),
    ),
    "a switch for more than a day": (
        rule("cancel", "after", "[0-9]+"),
        partial(tests.test_seconds_that_are_wrong, "86401"),
    ),
    "a switch for less than a day": (
        rule("cancel", "after", "[0-9]{1,4}"),
        partial(tests.test_the_switch_is_armed, "86400"),
    ),
    "a switch for parts of seconds": (
        rule("cancel", "after", "[0-9.]+"),
        partial(tests.test_seconds_that_are_wrong, "1.5"),
    ),
    "when it fires isn't told": (writing("_armed", r' time="[^"]*"', ""), tests.test_results_of_cancel_all),
    # Looking.
    "an account with an id is looked at": (
        a_look_whatever_it_says,
        tests.test_an_account_of_create_stays_an_error,
    ),
    "that it is armed isn't told": (writing("_account", r' armed="[^"]*"', ""), tests.test_results_of_looks),
    "fewer orders": (setting(terms, "_MAX", "100"), tests.test_looks),
    "more levels": (setting(terms, "_DEPTH", "20"), tests.test_looks),
    "more than 1,000 orders": (rule("orders", "max", "[0-9]+"), tests.test_looks),
    "more than 1,000 levels": (rule("book", "depth", "[0-9]+"), tests.test_looks),
    "a book of no symbol": (
        reading("book", "_make", lambda _: lambda *_: messages.Request("look_book", "7")),
        tests.test_looks,
    ),
    "orders aren't counted": (writing("_orders", r' count="[^"]*"', ""), tests.test_results_of_looks),
    "the amount isn't told": (writing("_orders", r' amount="[^"]*"', ""), tests.test_results_of_looks),
    "nobody knows what is reserved": (
        writing("_account", r' reserved="[^"]*"', ""),
        tests.test_results_of_looks,
    ),
    "asks stand first": (
        writing("_book", r"(<bid [^>]*>)(<ask [^>]*>)", r"\2\1"),
        tests.test_results_of_looks,
    ),
    "how many orders isn't told": (writing("_book", r' orders="[^"]*"', ""), tests.test_results_of_looks),
    "there never are more": (writing("_orders", ' more="true"', ""), tests.test_results_of_looks),
    "refs aren't told": (writing("_orders", r' ref="[^"]*"', ""), tests.test_results_of_looks),
    "a halt isn't told": (writing("_book", ' halted="true"', ""), tests.test_results_of_looks),
    "a book without seq": (writing("_book", r' seq="[^"]*"', ""), tests.test_results_of_looks),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(monkeypatch: Patch, mutant: str) -> None:
    change, test = MUTANTS[mutant]
    test()
    change(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        test()
