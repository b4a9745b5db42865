"""The tests of what is beyond the base protocol fail on a gateway that reads or answers it otherwise."""

import re
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from pgbourse.wire import elements, feed, fields, messages, replies, requests, terms
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


def create_knows_no_server(patch: Patch) -> None:
    reader = SimpleNamespace(read=lambda: requests.unknown("server", lambda _: None, requests.IN_CREATE))
    patch.setattr(messages, "SERVER", reader)


def rules_are_not_told(patch: Patch) -> None:
    problem = fields.Field.problem

    def tell_less(self: fields.Field, name: str, value: str | None) -> str | None:
        found = problem(self, name, value)
        return found and found.partition(":")[0]

    patch.setattr(fields.Field, "problem", tell_less)


def a_market_buy_needs_no_budget(patch: Patch) -> None:
    require = terms._Said.require
    patch.setattr(
        terms._Said,
        "require",
        lambda self, **rules: require(
            self, **{name: rule for name, rule in rules.items() if name != "budget"}
        ),
    )


def no_order_is_named(patch: Patch) -> None:
    patch.setattr(
        terms._Said,
        "order_id",
        lambda self, *_: fields.order_number(self["id"]) if "id" in self else None,
    )


def what_is_false_is_not_repeated(patch: Patch) -> None:
    patch.setattr(
        terms._Said,
        "repeat",
        lambda self, *names: "".join([f' {name}="{self[name]}"' for name in names if name in self]),
    )


def feeds_have_codes(patch: Patch) -> None:
    patch.setattr(
        feed,
        "refuse_subscribe",
        lambda root, message: feed.FeedDocument(
            requests.refuse(root.get, ("sym",), message, "invalid_symbol")
        ),
    )


def reversed_rules(child: str) -> Callable[[Patch], None]:
    return reading(child, "_rules", lambda rules: dict(reversed(rules.items())))


def a_look_whatever_it_says(patch: Patch) -> None:
    account: Any = type(terms.CHILDREN["account"])
    patch.delattr(account, "read")


wrong = tests.test_terms_that_are_wrong
wrong_market = tests.test_market_orders_that_are_wrong
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
    "what values there are isn't told": (
        rules_are_not_told,
        partial(wrong, 'tif="ioc"', "tif 'ioc' is not allowed: it must be GTC, IOC or FOK"),
    ),
    "a flag that is false isn't repeated": (
        what_is_false_is_not_repeated,
        tests.test_what_is_repeated_comes_in_one_order,
    ),
    "all is false, and there all the same": (
        reading("cancel", "_flags", lambda _: []),
        tests.test_query_and_cancel_by_ref,
    ),
    "a market order with a limit": (
        overlooking("order", "limit"),
        partial(wrong_market, 'amount="5" budget="5" limit="5"', "a market order has no limit"),
    ),
    "a market order that is GTC": (
        overlooking("order", "tif"),
        partial(wrong_market, 'amount="5" budget="5" tif="GTC"', "a market order never rests"),
    ),
    "a market order that is post only": (
        setting(terms, "_refuse_resting", lambda _: None),
        partial(
            wrong_market,
            'amount="5" budget="5" post="true"',
            "post and type market contradict each other",
        ),
    ),
    "a market buy without a budget": (
        a_market_buy_needs_no_budget,
        partial(wrong_market, 'amount="5"', "budget is missing: it must be a number above 0"),
    ),
    "a market sell with a budget": (
        overlooking("order", "budget"),
        partial(wrong_market, 'amount="-5" budget="5"', "a market order that sells has no budget"),
    ),
    "a limit order with a budget": (
        overlooking("order", "budget"),
        partial(wrong, 'budget="5"', "budget is for market orders that buy"),
    ),
    "a budget of nothing": (
        rule("order", "budget", "[0-9.]+"),
        partial(wrong, 'budget="0"', "budget '0' is not allowed: it must be a number above 0"),
    ),
    **{
        f"errors repeat in another order: {child}": (
            reversed_rules(child),
            tests.test_an_error_repeats_what_is_known_of_its_child,
        )
        for child in ("order", "replace", "cancel", "reduce", "orders")
    },
    "what the database refuses is repeated in part": (
        reading("replace", "_make", lambda make: lambda said, _: make(said, "")),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "what is released comes first": (
        writing("_opened", r'( replaced="[^"]*")( released="[^"]*")', r"\2\1"),
        tests.test_all_that_the_server_adds_comes_in_one_order,
    ),
    "what is filled comes before what was replaced": (
        writing("_opened", r'( replaced=.*)( executed="[^"]*")', r"\2\1"),
        tests.test_all_that_the_server_adds_comes_in_one_order,
    ),
    "another version is told": (
        setting(terms, "__version__", "0"),
        partial(tests.test_the_server_tells_what_it_can_do, "create"),
    ),
    "create knows no server": (
        create_knows_no_server,
        partial(tests.test_the_server_tells_what_it_can_do, 'create codes="true"'),
    ),
    "a feed's errors have codes": (
        feeds_have_codes,
        partial(tests.test_the_errors_of_a_feed_have_no_codes, '<subscribe sym="?" codes="true"/>'),
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
    "a ref of 63": (
        rule("order", "ref", "[A-Za-z0-9._:-]{1,63}"),
        partial(tests.test_a_ref_has_a_length, 64),
    ),
    "a ref of 65": (
        rule("order", "ref", "[A-Za-z0-9._:-]{1,65}"),
        partial(tests.test_a_ref_has_a_length, 65),
    ),
    "a ref of other letters": (
        rule("order", "ref", r"[\w.:-]{1,64}"),
        partial(wrong, 'ref="ä"', "ref 'ä' is not allowed"),
    ),
    "a ref of fewer signs": (
        rule("order", "ref", "[A-Za-z0-9]{1,64}"),
        partial(tests.test_terms_of_an_order, 'ref="a.B_7-:"', messages.Terms(ref="a.B_7-:")),
    ),
    "a ref isn't repeated": (
        writing("_opened", r' ref="[^"]*"', ""),
        tests.test_what_becomes_of_an_order_at_once,
    ),
    "neither an id nor a ref": (no_order_is_named, tests.test_reduce),
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
