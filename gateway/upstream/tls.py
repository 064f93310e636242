"""TLS towards upstreams: certificates and host names are verified, sessions resumed."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Final

import msgspec

HTTP1: Final = ("http/1.1",)
HTTP2: Final = ("h2", *HTTP1)


class UnusableFile(ValueError):
    """A PEM file that cannot serve; `key` is the setting that names it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


class TlsFiles(msgspec.Struct, frozen=True):
    """A provider's PEM files: whom to trust in the place of the system's authorities, and who we are.

    `key_file` is not needed where `cert_file` holds the key, too.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def __bool__(self) -> bool:
        return self != TlsFiles()

    def digest(self) -> str:
        """Returns what changes with the files' names or contents; raises UnusableFile where one cannot be read."""
        digest = hashlib.sha256()
        for key in self.__struct_fields__:
            path: Path | None = getattr(self, key)
            if path is not None:
                try:
                    digest.update(f"{key}\0{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise UnusableFile(key, f"{path} cannot be read: {error.strerror}") from None
        return digest.hexdigest()


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


def client_context(files: TlsFiles | None = None, protocols: tuple[str, ...] = HTTP1) -> ResumingContext:
    """Returns a context that trusts the system's authorities, or those of `ca_file` instead of them.

    `protocols` are offered by ALPN, the preferred first. Raises UnusableFile.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.sessions = {}
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    if files is None or files.ca_file is None:
        context.load_default_certs()
    else:
        _trust(context, files.ca_file)
    if files is not None and files.cert_file is not None:
        _identify(context, files.cert_file, files.key_file)
    return context


def _trust(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise UnusableFile("ca_file", f"{file} holds no certificate in PEM form") from None
    except OSError as error:
        raise UnusableFile("ca_file", f"{file} cannot be read: {error.strerror}") from None


def _identify(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    locked = False

    def password() -> str:  # without one OpenSSL asks the terminal, and waits
        nonlocal locked
        locked = True
        return ""

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if locked:
            raise UnusableFile("key_file" if key else "cert_file", "the key is encrypted: give it in clear") from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UnusableFile("key_file" if key else "cert_file", "the key is not the certificate's") from None
        both = f"{certificate} and {key} hold" if key else f"{certificate} holds"
        raise UnusableFile("cert_file", f"{both} no certificate with its key, in PEM form") from None
    except OSError as error:
        raise UnusableFile("cert_file", f"the certificate or its key cannot be read: {error.strerror}") from None
