"""How the interpreter of a process that serves clients is set up."""

import gc
import sys

__all__ = ["set_up_interpreter"]

# Objects that may gather before Python looks for cycles among them. A batch has thousands, which live for
# milliseconds and are in no cycle; at Python's own 700 it would look at them over and over.
_YOUNG_OBJECTS = 50_000
# Seconds for which a busy thread may keep the others from the interpreter. At Python's own 5 ms, a worker
# whose answer has come may wait for another one's reading for as long as its call took.
_SWITCH_SECONDS = 0.0005


def set_up_interpreter() -> None:
    """Set it up for threads that take turns in milliseconds, and for objects that live as long."""
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(_SWITCH_SECONDS)
