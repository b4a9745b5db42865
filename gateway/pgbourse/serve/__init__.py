"""The gateway: sockets, connections, dispatch and its calls of the database."""
