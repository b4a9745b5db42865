"""A headless Chromium that looks at an exchange: `pgbourse serve` over the test's own database."""

import contextlib
import dataclasses
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.rows import TupleRow
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service as Driver

from tests.integration.client import WireClient, wait_until
from tests.integration.service import Service

Session = psycopg.Connection[TupleRow]

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_DRIVER = shutil.which("chromedriver")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser for all tests of a worker; each has a page of its own."""
    if _CHROMIUM is None or _DRIVER is None:
        pytest.skip("there is no Chromium with its driver here (Debian: chromium and chromium-driver)")
    options = Options()
    options.binary_location = _CHROMIUM
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(_DRIVER))
    yield driver
    driver.quit()


@dataclasses.dataclass
class Exchange:
    """A served exchange with some symbols, and a client to trade with."""

    service: Service
    url: str
    client: WireClient

    def ask(self, *children: str, account: int = 1) -> None:
        """Carry out these children for an account; none may be refused."""
        reply = self.client.ask(f'<transactions id="{account}">{"".join(children)}</transactions>'.encode())
        assert [child.tag for child in reply if child.tag == "error"] == []

    def order(self, sym: str, amount: str, limit: str, account: int = 1) -> None:
        self.ask(f'<order sym="{sym}" amount="{amount}" limit="{limit}"/>', account=account)


CREATE = (
    '<create><account id="1" balance="100000000"/><account id="2" balance="100000000"/>'
    + "".join(
        f'<symbol sym="{sym}"><account id="1">100000</account><account id="2">100000</account></symbol>'
        for sym in ("AAPL", "MSFT", "SPY")
    )
    + "</create>"
).encode()


StartExchange = Callable[..., Exchange]


@pytest.fixture
def start_exchange(database: str) -> Iterator[StartExchange]:
    with contextlib.ExitStack() as stack:

        def start(http_port: int = 0, *options: str) -> Exchange:
            port = http_port or _free_port()
            given = ("--database-url", database, "--no-migrate", "--http-port", str(port), *options)
            service = Service(*given)
            stack.callback(_end, service)
            service.wait()
            client = stack.enter_context(WireClient(service.address))
            return Exchange(service, f"http://127.0.0.1:{port}/", client)

        yield start


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(service: Service) -> None:
    if service.process.poll() is None:
        service.process.kill()
    service.process.communicate()


@pytest.fixture
def exchange(start_exchange: StartExchange) -> Exchange:
    started = start_exchange()
    started.client.ask(CREATE)
    return started


class Page:
    """The page in the browser: what it shows, and what one can do with it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, exchange: Exchange, sym: str = "") -> None:
        self.driver.get(f"{exchange.url}#{quote(sym)}")

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What one reads there."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector)).strip()

    def numbers(self, selector: str) -> list[list[str]]:
        """The cells of rows that a screen reader would read, without the space between thousands."""
        script = (
            "return [...document.querySelectorAll(arguments[0] + ' tr:not([aria-hidden=true])')]"
            ".map((row) => [...row.cells].map((cell) => cell.innerText.replace(/\\u202f/g, '')))"
        )
        rows: list[list[str]] = self.run(script, selector)
        return rows

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, what)

    def until_live(self, sym: str | None = None) -> None:
        """Wait until the page shows an exchange that trades, and this symbol's book."""
        wait_until(lambda: self.text("#state") == "Live", "the page is live")
        if sym is not None:
            wait_until(lambda: self.text("#sym") == sym and self.text("#spread"), f"{sym} is shown")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self) -> str:
        return str(self.run("return document.activeElement.innerText || document.activeElement.id"))

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, **features: str) -> None:
        """Set what the system prefers: color_scheme="dark", reduced_motion="reduce"."""
        told = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

    def console(self) -> list[str]:
        """What has been written to the console since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def hosts(self) -> set[str]:
        """Where requests have gone since that was last asked."""
        hosts = set()
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                parts = urlsplit(message["params"]["request"]["url"])
                hosts.add(parts.netloc or parts.scheme)
        return hosts


@pytest.fixture
def page(chromium: webdriver.Chrome) -> Iterator[Page]:
    """The browser, with nothing of an earlier test but its console's text, which is thrown away."""
    page = Page(chromium)
    page.resize(1600, 1000)
    page.prefer(color_scheme="light", reduced_motion="no-preference")
    page.console()
    page.hosts()
    yield page
    chromium.get("about:blank")
