"""`pgbourse top`, an exchange live on a terminal: samples -> screen -> live, each knows the one before."""
