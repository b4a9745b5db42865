"""`pgbourse bench`: measure what a machine can do, with pgbench as the yardstick, and report it."""
