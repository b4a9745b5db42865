"""The page, as somebody sees and uses it, while an exchange trades."""

import itertools
import re

import psycopg
import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import CREATE, Exchange, Page, Session, StartExchange
from tests.browser.contrast import contrasts

# One browser for all of them.
pytestmark = pytest.mark.xdist_group("browser")

NONE, MINUS = "\u2013", "\u2212"  # a dash, and the sign

# Whether the list shows the symbol that was chosen.
IN_SIGHT = (
    "const frame = document.querySelector('#symbols .scroll').getBoundingClientRect(), "
    "row = document.querySelector('tr.chosen').getBoundingClientRect(); "
    "return row.top >= frame.top && row.bottom <= frame.bottom + 1"
)

HOSTILE = "<img src=x onerror=\"document.title='hacked'\">"


def fill(exchange: Exchange) -> None:
    """Trade a little: SPY at 145.5, with two levels on each side, and AAPL."""
    exchange.order("SPY", "-1250.5", "145.50")
    exchange.order("SPY", "-30", "146.25")
    exchange.order("SPY", "-70", "146.25")
    exchange.order("SPY", "100", "145.5", account=2)
    exchange.order("SPY", "40", "145", account=2)
    exchange.order("SPY", "60", "144.75", account=2)
    exchange.order("AAPL", "-5", "228.10")
    exchange.order("AAPL", "5", "228.1", account=2)


# Pairs of labels in the drawing of bars of which one covers a part of the other.
OVERLAPS = """
    const texts = [...document.querySelectorAll("#candles text")];
    const boxes = texts.map((one) => [one.textContent, one.getBoundingClientRect()]);
    return boxes.flatMap(([text, a], place) => boxes.slice(place + 1)
        .filter(([, b]) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)
        .map(([other]) => text + " and " + other));
"""


def test_the_page_shows_what_sql_shows_and_follows_it(
    exchange: Exchange, page: Page, connection: Session
) -> None:
    fill(exchange)
    page.open(exchange, "SPY")
    page.until_live("SPY")

    def shown() -> dict[str, object]:
        return {
            "last": page.text("#last"),
            "bid": page.text("#bid"),
            "ask": page.text("#ask"),
            "asks": page.numbers("#asks"),
            "bids": page.numbers("#bids"),
            "tape": [row[1:] for row in page.numbers("#trades")],
            "list": page.numbers("#list"),
        }

    assert shown() == {
        "last": "145.5",
        "bid": "145.0",
        "ask": "145.5",
        "asks": [["2", "100.0", "146.25"], ["1", "1150.5", "145.50"]],
        "bids": [["1", "40.0", "145.00"], ["1", "60.0", "144.75"]],
        "tape": [["Buy", "100", "145.5"]],
        "list": [["AAPL", "228.1", "0.00 %"], ["MSFT", NONE, NONE], ["SPY", "145.5", "0.00 %"]],
    }
    assert page.text("#spread") == "Spread 0.5"
    assert "SPY 145.5" in page.driver.title
    # An order from elsewhere, by psql: no part of the page is told but by the database.
    connection.execute("select exchange.place_order('1', 'SPY', -50, 144.80)")
    page.until(lambda: page.text("#last") == "145.00", "the trade is shown")
    query = (
        "select initcap(taker_side::text), shares, price from exchange.tape('SPY') order by execution_id desc"
    )
    traded = [(taker, float(shares), float(price)) for taker, shares, price in connection.execute(query)]
    assert traded[0] == ("Sell", 40, 145)
    page.until(
        lambda: [(row[1], float(row[2]), float(row[3])) for row in page.numbers("#trades")] == traded,
        "the tape is SQL's",
    )
    market = connection.execute(
        "select last_price::float8, bid::float8, ask::float8 from exchange.market() where sym = 'SPY'"
    ).fetchone()
    page.until(
        lambda: (float(page.text("#last")), float(page.text("#bid")), float(page.text("#ask"))) == market,
        "prices are SQL's",
    )
    assert page.text("#change") == f"{MINUS}0.50 ▼ 0.34 %"
    page.until(lambda: page.run(OVERLAPS) == [], "no label of the bars covers another")
    assert page.numbers("#asks")[-1] == ["1", "10.0", "144.80"]
    label = "return document.querySelector('#candles').ariaLabel"
    page.until(lambda: "close 145," in page.run(label), "the newest bar is told")
    page.until(lambda: page.text("#orders") not in (NONE, ""), "the pulse is shown")
    assert page.console() == []


def test_a_symbol_is_chosen_with_the_keyboard(exchange: Exchange, page: Page) -> None:
    fill(exchange)
    page.open(exchange)
    page.until_live("AAPL")  # the first that has traded
    page.press(Keys.TAB)
    assert page.focused() == "Skip to the order book"
    page.press(Keys.TAB)
    assert page.focused() == "AAPL"
    outline = page.run("return getComputedStyle(document.activeElement).outlineWidth")
    assert float(outline.removesuffix("px")) >= 2
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.focused() == "SPY"
    page.press(Keys.ENTER)
    page.until_live("SPY")
    page.until(lambda: page.text("#last") == "145.5", "its price is shown")
    assert page.focused() == "SPY"
    current = "return [...document.querySelectorAll('[aria-current=true]')].map((node) => node.innerText)"
    assert page.run(current) == ["SPY"]
    assert page.text("#announce") == "SPY: last 145.5, unchanged. Bid 145, ask 145.5."
    page.press(Keys.HOME)
    assert page.focused() == "AAPL"
    page.press(Keys.END, Keys.TAB)
    checked = "return document.querySelector('input[name=bars]:checked').value"
    assert page.run("return document.activeElement.name") == "bars"
    assert page.run(checked) == "10"
    page.press(Keys.ARROW_RIGHT)
    assert page.run(checked) == "60"
    page.until(lambda: page.run("return state.bars?.seconds") == 60, "bars of a minute are shown")
    page.driver.back()
    page.until_live("AAPL")
    # A reader hears of a choice, and not of each trade.
    said = page.text("#announce")
    exchange.order("AAPL", "-5", "227")
    exchange.order("AAPL", "5", "227", account=2)
    page.until(lambda: page.text("#last") == "227", "the trade is shown")
    assert page.text("#announce") == said


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(exchange: Exchange, page: Page, scheme: str, connection: Session) -> None:
    fill(exchange)
    connection.execute("select exchange.create_symbol(repeat('W', 255)), exchange.halt_symbol('MSFT')")
    page.prefer(color_scheme=scheme)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    page.until(lambda: len(page.numbers("#list")) == 4 and page.numbers("#trades"), "all is shown")
    grounds = set()
    for width, sym in itertools.product((400, 760, 1240, 1600), ("SPY", "W" * 255)):
        page.run("location.hash = arguments[0]", sym)
        page.until_live(sym)
        page.resize(width)
        page.until(lambda width=width: page.run("return innerWidth") == width, "the window has its size")  # type: ignore[misc]
        assert page.run("return document.documentElement.scrollWidth") <= width
        assert page.run(IN_SIGHT)
        outside = (
            "return [...document.querySelectorAll('main *')].filter((node) => "
            "!node.closest('.hidden, caption') && node.getClientRects().length).filter((node) => { "
            "const { left, right } = node.getBoundingClientRect(); "
            "return left < -1 || right > innerWidth + 1 }).map((node) => node.outerHTML.slice(0, 80))"
        )
        assert page.run(outside) == []
        found = contrasts(page)
        assert len(found) > 40
        assert [pair for pair in found if pair.ratio < 4.5] == []
        grounds.add(page.run("return getComputedStyle(document.documentElement).backgroundColor"))
    assert len(grounds) == 1
    dark = sum(map(int, re.findall(r"\d+", grounds.pop())[:3])) < 128
    assert dark == (scheme == "dark")
    # The tape is longer than its frame, and the frame can be scrolled with the keyboard.
    assert page.run("return document.querySelector('#tape .scroll').tabIndex") == 0


def test_everything_has_a_name_and_a_role(exchange: Exchange, page: Page) -> None:
    fill(exchange)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    assert page.run("return document.documentElement.lang") == "en"
    nameless = (
        "return [...document.querySelectorAll('a, button, input, section, svg[role=img], [role=region]')]"
        ".filter((node) => !(node.ariaLabel || node.innerText || node.closest('label')?.innerText || "
        "document.getElementById(node.getAttribute('aria-labelledby'))?.innerText))"
        ".map((node) => node.outerHTML)"
    )
    assert page.run(nameless) == []
    tables = (
        "return [...document.querySelectorAll('table')].filter((table) => !table.caption || "
        "[...table.tHead.rows[0].cells].some((cell) => cell.tagName !== 'TH' || cell.scope !== 'col'))"
    )
    assert page.run(tables) == []
    assert page.run("return document.querySelectorAll('h1').length") == 1
    assert page.run("return [...document.querySelectorAll('[aria-live]')].map((node) => node.ariaLive)") == [
        "polite"
    ]
    ids = page.run("return [...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
    # What the browser itself makes of it for a reader.
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]
    }
    assert {("heading", "SPY"), ("region", "Order book"), ("radio", "10 s"), ("link", "SPY")} <= roles
    assert any(role == "image" and name.startswith("Depth: ") for role, name in roles)


@pytest.mark.parametrize("wanted", ["reduce", "no-preference"])
def test_nothing_moves_where_less_motion_is_asked_for(exchange: Exchange, page: Page, wanted: str) -> None:
    fill(exchange)
    page.prefer(reduced_motion=wanted)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    page.run("window.moved = 0; document.addEventListener('animationstart', () => moved++)")
    exchange.order("SPY", "2000", "146.25", account=2)
    page.until(lambda: page.text("#last") == "146.25", "the trade is shown")
    if wanted == "reduce":
        assert page.run("return getComputedStyle(document.querySelector('#last')).animationName") == "none"
        assert page.run("return [document.getAnimations().length, moved]") == [0, 0]
    else:
        page.until(lambda: page.run("return moved"), "the price flashes")


def test_a_name_that_is_html_is_text(exchange: Exchange, page: Page, connection: Session) -> None:
    """No client can create one; a symbol from elsewhere, or a hole in that rule, harms nobody."""
    connection.execute("alter table exchange.symbols drop constraint symbols_sym_is_alphanumeric")
    connection.execute("insert into exchange.symbols (sym, created_at) values (%s, now())", [HOSTILE])
    page.open(exchange, HOSTILE)
    page.until_live(HOSTILE)
    page.until(lambda: [HOSTILE, NONE, NONE] in page.numbers("#list"), "it is in the list")
    assert page.run("return document.querySelectorAll('img').length") == 0
    assert page.driver.title == f"{HOSTILE} · pgbourse"
    page.open(exchange, "nobody's <b>symbol</b>")
    page.until(lambda: page.text("#change") == "There is no such symbol.", "it is not known")
    assert page.console() == []


def test_nothing_leaves_for_elsewhere_and_nothing_else_runs(
    exchange: Exchange, page: Page, start_exchange: StartExchange
) -> None:
    fill(exchange)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    page.run("location.hash = 'AAPL'")
    page.until_live("AAPL")
    assert page.hosts() - {"data"} == {exchange.url.split("/")[2]}
    assert page.console() == []
    other = start_exchange()
    asked = "return fetch(arguments[0], {mode: 'no-cors'}).then(() => 'sent', () => 'refused')"
    assert page.run(asked, other.url + "metrics") == "refused"
    assert page.run(asked, exchange.url + "healthz") == "sent"
    for script in ("document.body.innerHTML = '<b>x</b>'", "document.write('x')"):
        assert (
            page.run(f"try {{ {script}; return 'done' }} catch (error) {{ return 'refused' }}") == "refused"
        )
    inline = (
        "const s = document.createElement('style'); s.append('b{}'); document.head.append(s); return s.sheet"
    )
    assert page.run(inline) is None
    # A page of another server's can't look either.
    page.driver.get(other.url)
    page.until_live()
    script = (
        "const done = arguments[arguments.length - 1], source = new EventSource(arguments[0]);"
        "source.onopen = () => done('open'); source.onerror = () => done('refused')"
    )
    assert page.driver.execute_async_script(script, exchange.url + "events") == "refused"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_server_that_is_gone_is_told_and_found_again(
    start_exchange: StartExchange, page: Page, how: str
) -> None:
    exchange = start_exchange()
    exchange.client.ask(CREATE)
    fill(exchange)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    page.until(lambda: page.text("#last") == "145.5", "the price is shown")
    if how == "killed":
        exchange.service.process.kill()
    else:
        exchange.service.process.terminate()
    page.until(lambda: page.text("#state") == "Disconnected", "it is told")
    assert page.text("#banner").startswith(
        "Disconnected from the exchange, trying again. What is shown is of "
    )
    assert page.run("return getComputedStyle(document.querySelector('main')).opacity") == "0.6"
    assert page.text("#last") == "145.5"
    exchange.service.process.wait()
    again = start_exchange(int(exchange.url.rsplit(":", 1)[1].strip("/")))
    again.order("SPY", "-5", "145")
    page.until_live("SPY")
    page.until(lambda: page.text("#last") == "145.0", "the market goes on")
    assert page.text("#banner") == ""


def test_a_database_that_is_away_is_told(
    exchange: Exchange, page: Page, database: str, connection: Session
) -> None:
    fill(exchange)
    page.open(exchange, "SPY")
    page.until_live("SPY")
    name = connection.info.dbname
    with psycopg.connect(database, dbname="postgres", autocommit=True) as other:
        other.execute(f'alter database "{name}" with allow_connections false')
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        page.until(lambda: page.text("#state") == "Out of date", "it is told")
        assert "database does not answer" in page.text("#banner")
        assert page.text("#last") == "145.5"
        other.execute(f'alter database "{name}" with allow_connections true')
    page.until_live("SPY")


def test_of_many_symbols_those_that_traded_last_are_listed_and_any_is_found(
    exchange: Exchange, page: Page, connection: Session
) -> None:
    fill(exchange)
    connection.execute("select exchange.create_symbol('S' || n) from generate_series(1000, 1300) as n")
    page.open(exchange)
    page.until_live("AAPL")
    listed = page.numbers("#list")
    assert len(listed) == 200
    assert [row[0] for row in listed][:2] == ["AAPL", "MSFT"]
    assert page.text("#more") == "The 200 of 304 that traded last."
    page.run("document.querySelector('#filter').focus()")
    page.press("py")
    page.until(lambda: [row[0] for row in page.numbers("#list")] == ["SPY"], "one is left")
    page.press(Keys.ENTER)
    page.until_live("SPY")
    page.press(Keys.CONTROL + "a", "S1300", Keys.ENTER)
    page.until_live("S1300")
    assert page.text("#last") == ""


def test_a_hidden_page_lets_go(exchange: Exchange, page: Page) -> None:
    page.open(exchange)
    page.until_live()
    hide = (
        "const hidden = arguments[0]; "
        "Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true}); "
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.run("const set = setTimeout; window.setTimeout = (run, after) => set(run, after / 1000)")
    page.run(hide, True)
    page.until(lambda: page.text("#state") == "Paused", "it has let go")
    assert page.run("return source") is None
    page.run(hide, False)
    page.until_live()
