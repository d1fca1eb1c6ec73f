"""Time limits of tests."""

TIMEOUT = 1200.0
"""Seconds after which a test gives up on a process or a server. Tests wait for events; this limit
only ends a test that hangs, and gives a busy machine twenty times the usual time."""
