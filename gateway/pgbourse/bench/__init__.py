"""`pgbourse bench`: what a machine carries, beside pgbench as the yardstick, and the report of it."""
