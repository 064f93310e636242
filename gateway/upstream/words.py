"""Says in words why an upstream could not be reached, without addresses, and whether only people can mend that."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import Final

from gateway.core.errors import Reason, UpstreamError

CONNECT: Final = "CONNECT"
HANDSHAKE: Final = "the TLS handshake"
GREETING: Final = "the greeting of HTTP/2"

_NO_TLS: Final = "it does not speak TLS on this port"
_TOO_OLD: Final = "it offers no version of TLS from 1.2 on"
_UNWANTED: Final = "it does not accept our client certificate"

# OpenSSL's reasons (openssl/sslerr.h, 3.0 to 3.5) -> what an operator can look for.
_TLS: Final[Mapping[str, str]] = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "TLSV1_ALERT_PROTOCOL_VERSION": _TOO_OLD,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses the handshake: it may ask for a client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": _UNWANTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _UNWANTED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _UNWANTED,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _UNWANTED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _UNWANTED,
    "TLSV1_UNRECOGNIZED_NAME": "it serves no such host name",
}
_GOING: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


def unreached(error: OSError, whom: str = "the upstream", during: str = "") -> str:
    """Says why a connection could not be made; `during` which step, where TCP stood already."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {whom} is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and not isinstance(error, _GOING):
        return f"TLS with {whom} failed: {_TLS.get(error.reason or '', _plain(error.reason))}"
    if isinstance(error, socket.gaierror):
        return f"the name of {whom} does not resolve"
    if during:
        if isinstance(error, TimeoutError):
            return f"{whom} did not finish {during} in time"
        return f"{whom} closed the connection during {during}"
    if isinstance(error, TimeoutError):
        return f"{whom} could not be reached in time"
    return f"{whom} could not be reached: {os.strerror(error.errno) if error.errno else 'connection failed'}"


def lost(error: OSError) -> UpstreamError:
    """Returns the failure of a connection that went as soon as it stood."""
    return UpstreamError(Reason.CONNECT, unreached(error, during=HANDSHAKE), sent=False, notify=lasts(error))


def again(error: UpstreamError) -> UpstreamError:
    """Returns the same failure for another call: raised twice, one error would gather the traces of both."""
    return UpstreamError(error.reason, error.message, sent=error.sent, notify=error.notify)


def closed_early(error: BaseException | None) -> str:
    """Says that an upstream closed before it answered, and why, where TLS told: under 1.3 a server that wants another
    client certificate says so only after the handshake (RFC 8446, 4.4.2.4 and 6.2)."""
    told = "the upstream closed the connection before it answered"
    if isinstance(error, ssl.SSLError) and error.reason in _TLS:
        return f"{told}: {_TLS[error.reason]}"
    return told


def lasts(error: BaseException | None) -> bool:
    """Says whether a failure stays until people have mended a certificate or a setting."""
    known = isinstance(error, ssl.SSLError) and error.reason in _TLS
    return known or isinstance(error, ssl.SSLCertVerificationError)


def _plain(reason: str | None) -> str:
    return (reason or "no reason given").lower().replace("_", " ")
