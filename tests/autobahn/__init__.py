"""Autobahn|Testsuite against `trivet run`; see `run`."""
