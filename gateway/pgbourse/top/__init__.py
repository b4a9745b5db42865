"""`pgbourse top`, an exchange live on a terminal: samples -> screen -> live; each imports the one before."""
