"""pgbourse: a stock exchange that is a PostgreSQL database, and its XML gateway."""

__all__ = ["__version__"]

__version__ = "0.1.0"
