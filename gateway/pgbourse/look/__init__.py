"""Looking at an exchange, and trading by hand, from a terminal.

Pure are what is shown (sheets -> views, told) and what is typed (usages -> words -> completing; documents).
asking has the connection of those who only look, trades the feed's trades. Each command has a module, and
commands has their options.
"""
