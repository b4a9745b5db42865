"""`pgbourse top`, an exchange live on a terminal: samples, figures -> screen -> live; imports go that way."""
