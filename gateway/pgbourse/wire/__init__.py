"""Bytes in, values out: framing, elements, fields and messages. No sockets, no threads, no SQL."""
