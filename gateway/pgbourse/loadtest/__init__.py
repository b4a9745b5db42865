"""Test documents, load on a server of this protocol, and the benchmark with its report."""
