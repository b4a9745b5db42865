"""What can be said in `pgbourse shell`."""

__all__ = ["USAGES"]

# What can be said, and what it does. `help` prints it; a usage's first word is the command.
USAGES = (
    ("buy SYM SHARES @ PRICE [ioc|fok] [post] [stp taker|maker|both] [ref NAME]", "buy at PRICE or less"),
    ("buy SYM SHARES @ market budget MONEY [fok]", "buy at what is asked, for at most MONEY"),
    ("sell SYM SHARES @ PRICE …", "sell at PRICE or more; sell SYM SHARES @ market: at what is bid"),
    ("cancel ORDER", "end an order's open part; ORDER is its id or its ref (ref 5: the ref, not the id)"),
    ("cancel all [SYM]", "end all open orders of the account"),
    ("cancel all after SECONDS", "do that unless it is said again within SECONDS; after 0: never mind"),
    ("reduce ORDER to SHARES", "leave at most so many open; reduce ORDER by SHARES: cancel so many"),
    ("replace ORDER with buy|sell SHARES @ PRICE [open SHARES] …", "cancel an order and place another"),
    ("query ORDER", "what has become of an order"),
    ("account", "the account's cash and shares"),
    ("orders [SYM]", "the account's open orders"),
    ("book SYM [DEPTH]", "a symbol's best prices"),
    ("tape SYM [NUMBER]", "a symbol's last trades"),
    ("create account ID MONEY", "make an account"),
    ("create symbol SYM", "make a symbol"),
    ("grant SYM ID SHARES", "give an account shares of a symbol, which is made if need be"),
    ("use ID", "act for this account from now on"),
    ("server", "what the server says of itself"),
    ("help [COMMAND]", "this; <…> sends XML as it is"),
    ("quit", "end, as Ctrl-D does"),
)
