"""The caller's side: raw ASGI, no framework on the hot path."""
