"""PostgreSQL for the gateway: the embedded one, its data folder, migrations and integrity checks."""
