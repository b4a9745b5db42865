"""`pgbourse tape`: a symbol's last trades, and the next ones as they come."""

import os
import sys
from collections.abc import Callable, Sequence

from pgbourse.logs import printable
from pgbourse.look.asking import ServerAddress
from pgbourse.look.sheets import Column, Grid, Sheet, aligned, number, show
from pgbourse.look.trades import TapeTrade, follow_trades, last_trades
from pgbourse.look.views import as_json

__all__ = ["show_tape", "tape_line", "tape_sheet"]

_COLUMNS = (
    Column("time", "dim", words=True),
    Column("taker", words=True),
    Column("shares"),
    Column("price", "bold"),
    Column("buy"),
    Column("sell"),
)


def show_tape(
    server: ServerAddress, sym: str, count: int, *, follow: bool = False, json: bool = False
) -> None:
    """Print the last trades, oldest first; and with `follow` those to come, until Ctrl-C.

    Raises AskError if there is no such symbol, ClientError or ReplyError if the server can't tell.
    """
    trades, newest = last_trades(server, sym, count)
    if not follow and not json:
        show([tape_sheet(sym, trades)])
        return
    write = _write_json if json else _write_in_colour() if sys.stdout.isatty() else _write_plain
    try:
        for trade in trades:
            write(trade)
        if follow:
            for trade in follow_trades(server, sym, newest, _say):
                write(trade)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tape_sheet(sym: str, trades: Sequence[TapeTrade]) -> Sheet:
    """Show trades, a row each."""
    shares, prices = aligned(trade.shares for trade in trades), aligned(trade.price for trade in trades)
    rows = (
        (_time(trade), trade.taker, own_shares, price, str(trade.buy_id), str(trade.sell_id))
        for trade, own_shares, price in zip(trades, shares, prices, strict=True)
    )
    return Sheet(f"{sym}{'' if trades else ', no trades'}", (Grid(_COLUMNS, tuple(rows)),))


def tape_line(trade: TapeTrade) -> str:
    """Write a trade as a line, of which nobody knows what will follow."""
    return f"{_time(trade)}  {trade.taker:4}  {number(trade.shares):>10} {trade.sym} @ {number(trade.price)}"


def _time(trade: TapeTrade) -> str:
    return f"{trade.at.astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]


def _write_json(trade: TapeTrade) -> None:
    sys.stdout.write(as_json(trade) + "\n")
    sys.stdout.flush()


def _write_plain(trade: TapeTrade) -> None:
    sys.stdout.write(printable(tape_line(trade)) + "\n")
    sys.stdout.flush()


def _write_in_colour() -> Callable[[TapeTrade], None]:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def write(trade: TapeTrade) -> None:
        console.print(Text(printable(tape_line(trade)), style="green" if trade.taker == "buy" else "red"))

    return write


def _say(text: str) -> None:
    sys.stderr.write(f"pgbourse: {printable(text)}\n")
    sys.stderr.flush()
