"""Looking at an exchange, and trading by hand, from a terminal.

sheets -> views are pure, and asking has the connection of those who only look. Each command has a module, and
commands has their options.
"""
