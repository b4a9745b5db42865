"""What can be said in `pgbourse shell`. Pure."""

__all__ = ["USAGES", "help_lines"]

# What can be said, and what it does. `help` prints it; a usage's first word is the command.
USAGES = (
    ("buy SYM SHARES @ PRICE [ioc|fok] [post] [stp taker|maker|both] [ref NAME]", "buy at PRICE or less"),
    ("buy SYM SHARES @ market budget MONEY [fok]", "buy at what is asked, for at most MONEY"),
    ("sell SYM SHARES @ PRICE …", "sell at PRICE or more; @ market: at what is bid"),
    ("cancel ORDER", "end its open part; ORDER is an id or a ref"),
    ("cancel all [SYM]", "end all open orders of the account"),
    ("cancel all after SECONDS", "do that unless said again in time; 0: never mind"),
    ("reduce ORDER to SHARES", "leave at most so many open"),
    ("reduce ORDER by SHARES", "cancel so many of those that are open"),
    ("replace ORDER with buy|sell SHARES @ PRICE [open SHARES] …", "cancel an order and place another"),
    ("query ORDER", "what has become of it (ref 5: its ref, not its id)"),
    ("account", "the account's cash and shares"),
    ("orders [SYM]", "the account's open orders"),
    ("book SYM [DEPTH]", "a symbol's best prices"),
    ("tape SYM [NUMBER]", "a symbol's last trades"),
    ("create account ID MONEY", "make an account"),
    ("create symbol SYM", "make a symbol"),
    ("grant SYM ID SHARES", "give an account shares; SYM is made if need be"),
    ("use ID", "act for this account from now on"),
    ("server", "what the server says of itself"),
    ("help [COMMAND]", "this; <…> sends XML as it is"),
    ("quit", "end, as Ctrl-D does"),
)

_WIDTH = 26  # columns for a usage; what is said of a longer one stands below it, so that 80 are enough


def help_lines(command: str | None = None) -> list[str]:
    """Return the help, or that of one command, as lines; none if there is no such command."""
    lines: list[str] = []
    for usage, text in USAGES:
        if command in (None, usage.split()[0]):
            is_long = len(usage) > _WIDTH
            lines += [usage] * is_long
            lines.append(f"{'' if is_long else usage:{_WIDTH}}  {text}")
    return lines
