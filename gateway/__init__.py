"""pgbourse: a stock exchange that is a PostgreSQL database, and its XML gateway."""
