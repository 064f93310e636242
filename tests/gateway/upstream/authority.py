"""Certificates of a private authority, as `openssl` makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EXTENSIONS = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"


def issue(folder: Path) -> None:
    """Writes NAME.pem and NAME.key for all of these.

    `ca` has signed: `good` (for localhost), `named` (for api.internal), `expired` (for localhost, until yesterday),
    `client` (of the gateway itself; `client-both.pem` has its key, too; `locked.key` is it, encrypted). `other-ca` has
    signed none of them; `self` is signed by itself, for localhost. `empty` is an empty file.
    """
    for name in ("ca", "other-ca"):
        _request(folder, name, "-x509", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _request(folder, "self", "-x509", "-addext", "subjectAltName=DNS:localhost")
    _sign(folder, "good", "localhost")
    _sign(folder, "named", "api.internal")
    _sign(folder, "expired", "localhost", days=-1)
    _sign(folder, "client", "headgate")
    _openssl(folder, "ec", "-in", "client.key", "-aes128", "-passout", "pass:locked", "-out", "locked.key")
    (folder / "empty").touch()
    (folder / "client-both.pem").write_text((folder / "client.pem").read_text() + (folder / "client.key").read_text())


def _sign(folder: Path, name: str, host: str, days: int = 2) -> None:
    _request(folder, name)
    extensions = folder / f"{name}.extensions"
    extensions.write_text(f"subjectAltName=DNS:{host}\n{_EXTENSIONS}")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", extensions.name)
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-days", str(days), "-out", f"{name}.pem")


def _request(folder: Path, name: str, *more: str) -> None:
    out = f"{name}.pem" if "-x509" in more else f"{name}.csr"
    _openssl(folder, "req", "-new", *_KEY, *more, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", out)


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
