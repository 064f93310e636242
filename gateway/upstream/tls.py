"""TLS towards upstreams: certificates and host names are verified, sessions resumed."""

from __future__ import annotations

import ssl


class ResumingContext(ssl.SSLContext):
    """A client context that offers each host the session it last gave.

    Neither asyncio nor uvloop passes a session on, but both make their connections through `wrap_bio`. A session binds
    to this context and to the host name it was verified for; a host that does not know it makes a full handshake.
    """

    sessions: dict[str, ssl.SSLSession]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Wraps as the base class does, with the host's last session."""
        if isinstance(server_hostname, str):
            session = self.sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, host: str, connection: ssl.SSLObject) -> None:
        """Keeps a connection's session; under TLS 1.3 there is one only after the first bytes were read."""
        session = connection.session
        if session is not None and session.has_ticket:
            self.sessions[host] = session


def client_context(ca_file: str | None) -> ResumingContext:
    """Returns a context that trusts the system's authorities, or those of `ca_file` (PEM) instead of them."""
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.sessions = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
