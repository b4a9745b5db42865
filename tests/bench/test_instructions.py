"""The counting of instructions: what is read from callgrind, and all of it where valgrind is installed."""

import shutil
from collections import Counter

import pytest

from tests.bench.instructions import count, difference, functions

ANNOTATED = """\
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
9,000,000 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir                 file:function
--------------------------------------------------------------------------------
1,200,300 (13.34%)  ???:_bt_compare [/opt/pg 18/bin/postgres]
  100,000 ( 1.11%)  ???:ExecInitExprRec'2 [/opt/pg 18/bin/postgres]
   50,000 ( 0.56%)  ./string/../sysdeps/multiarch/memcpy.S:memcpy@@GLIBC [/usr/lib/libc.so.6]
    7,000           ???:ExecInitExprRec [/opt/pg 18/bin/postgres]
"""


def test_functions_are_read_from_callgrind() -> None:
    assert functions(ANNOTATED) == {
        "_bt_compare": 1_200_300,
        "ExecInitExprRec": 107_000,
        "memcpy@@GLIBC": 50_000,
    }


def test_what_happens_once_does_not_count() -> None:
    few = Counter({"start": 7000, "work": 500})
    many = Counter({"start": 7000, "work": 2500, "rare": 1000})
    assert difference(few, many, 100) == {"start": 0, "work": 20, "rare": 10}


@pytest.mark.long("PostgreSQL runs under valgrind")
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_an_order_costs_about_what_it_should() -> None:
    found = count(orders=10, warm_up_orders=200)
    assert 50_000 < found.total() < 2_000_000
    assert {"heap_insert", "_bt_compare", "ExecInterpExpr"} <= {name for name, _ in found.most_common(300)}
