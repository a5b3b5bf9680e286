"""Take the busy flows of a Linux host out of connection tracking, provably and without lock-outs."""

__version__ = "0.1.0"
