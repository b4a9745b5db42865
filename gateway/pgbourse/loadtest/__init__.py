"""Test documents, and load on any server of this protocol."""
