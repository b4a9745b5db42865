"""Standard input, output and error as we find them: closed, full, or unable to show a character."""

import contextlib
import errno
import io
import os
import sys

__all__ = ["drop_output", "is_full", "mend_streams"]

# What a disk, a quota, a limit or a device says of what is written to it.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def mend_streams() -> None:
    """Make all three usable: a closed one leads nowhere, and what can't be shown is escaped.

    A socket or a file of ours would otherwise get the closed one's number, and all that is written to it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_full(error: OSError) -> bool:
    """Tell whether an error means that what was written to has no room, or fails."""
    return error.errno in _FULL


def drop_output() -> None:
    """Let what is still to be written to standard output lead nowhere, for it can't be written."""
    with contextlib.suppress(OSError):  # it may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
