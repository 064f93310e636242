"""Ports for servers that have to be told theirs."""

from __future__ import annotations

import itertools
import os
import socket

# The kernel gives connections theirs from 32,768 on (ip_local_port_range): nobody takes one of these by chance.
_FROM, _BELOW = 20_000, 30_000

_next = itertools.count(os.getpid())


def free_port() -> int:
    """Returns a port that nobody listens at and that no connection will be given."""
    for number in _next:
        port = _FROM + number % (_BELOW - _FROM)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("unreachable")
