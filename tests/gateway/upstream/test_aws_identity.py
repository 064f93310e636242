"""Keys from wherever AWS's own clients find them: files, roles, web identities, containers, instances."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.upstream import aws_identity
from gateway.upstream.aws_identity import Identity, IdentitySource, MissingLibrary
from gateway.upstream.sigv4 import Keys
from tests.ports import free_port

REGION = "eu-central-1"
ROLE = "arn:aws:iam::123456789012:role/models"


class Amazon:
    """Token service, container agent and instance metadata on one socket; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []  # method, path, the form's fields
        self.refusal = ""
        self.silent = False
        self.url = ""
        self.given = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            method, path, _ = lines[0].split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = (await reader.readexactly(int(fields.get("content-length", 0)))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.asked.append((method, path, form))
            if self.silent:
                await asyncio.sleep(30)
            status, said = self._said(method, path, form)
            writer.write(
                f"HTTP/1.1 {status} -\r\ncontent-length: {len(said)}\r\nconnection: close\r\n\r\n{said}".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _said(self, method: str, path: str, form: dict[str, str]) -> tuple[int, str]:
        self.given += 1
        ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        if path == "/":
            if self.refusal:
                return (
                    403,
                    f"<ErrorResponse><Error><Code>{self.refusal}</Code><Message>no</Message></Error></ErrorResponse>",
                )
            action = form["Action"]
            return 200, (
                f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
                f"<AccessKeyId>ASIA{self.given}</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>"
                f"<SessionToken>role-token</SessionToken><Expiration>{ends}</Expiration></Credentials>"
                f"<AssumedRoleUser><Arn>a</Arn><AssumedRoleId>b</AssumedRoleId></AssumedRoleUser>"
                f"</{action}Result></{action}Response>"
            )
        keys = {"AccessKeyId": f"ASIA{self.given}", "SecretAccessKey": "s", "Token": "t", "Expiration": ends}
        if path == "/container":
            return 200, json.dumps(keys)
        if method == "PUT":
            return 200, "token"
        if path.endswith("/security-credentials/"):
            return 200, "the-role"
        if path.endswith("/the-role"):
            return 200, json.dumps({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": ends, **keys})
        return 404, ""


@pytest.fixture
async def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Amazon]:
    """Returns the world of AWS, with nothing of this machine's own in it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    amazon = Amazon()
    server = await asyncio.start_server(amazon.answer, "127.0.0.1", 0)
    amazon.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", amazon.url)
    yield amazon
    server.close()


OWN = Keys("AKIDOWN", "own-secret")


async def test_a_role_is_taken_on_with_the_keys_of_the_config(amazon: Amazon) -> None:
    source = IdentitySource(Identity(REGION, OWN, role_arn=ROLE, external_id="ours"))
    assert await source() == Keys("ASIA1", "role-secret", "role-token")
    _, _, form = amazon.asked[0]
    assert (form["Action"], form["RoleArn"], form["ExternalId"]) == ("AssumeRole", ROLE, "ours")
    assert form["RoleSessionName"] == "headgate"
    await source()
    assert len(amazon.asked) == 1  # kept until they are about to end


async def test_the_environments_keys(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
    assert await IdentitySource(Identity(REGION))() == Keys("AKIDENV", "s", "t")


async def test_a_profile_of_the_files(amazon: Amazon, tmp_path: Path) -> None:
    (tmp_path / "AWS_SHARED_CREDENTIALS_FILE").write_text(
        "[models]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n"
    )
    assert await IdentitySource(Identity(REGION, profile="models"))() == Keys("AKIDFILE", "s")
    with pytest.raises(UpstreamError, match="ProfileNotFound") as caught:
        await IdentitySource(Identity(REGION, profile="other"))()
    assert (caught.value.reason, caught.value.notify) == (Reason.UNAUTHENTICATED, True)


async def test_a_web_identity_as_kubernetes_gives_it(
    amazon: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("web-token")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    assert (await IdentitySource(Identity(REGION))()).session_token == "role-token"
    _, _, form = amazon.asked[0]
    assert (form["Action"], form["WebIdentityToken"]) == ("AssumeRoleWithWebIdentity", "web-token")


async def test_a_container_and_an_instance(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{amazon.url}/container")
    assert await IdentitySource(Identity(REGION))() == Keys("ASIA1", "s", "t")
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", amazon.url)
    found = await IdentitySource(Identity(REGION))()
    assert (found.secret_access_key, found.session_token) == ("s", "t")
    assert amazon.asked[-1][1].endswith("/iam/security-credentials/the-role")


async def test_nobody(amazon: Amazon) -> None:
    with pytest.raises(UpstreamError, match="no AWS credentials were found") as caught:
        await IdentitySource(Identity(REGION))()
    failure = caught.value
    assert (failure.reason, failure.sent, failure.notify) == (Reason.UNAUTHENTICATED, False, True)


async def test_a_role_that_may_not_be_taken_on(amazon: Amazon, caplog: pytest.LogCaptureFixture) -> None:
    amazon.refusal = "AccessDenied"
    with pytest.raises(UpstreamError, match="AccessDenied") as caught:
        await IdentitySource(Identity(REGION, OWN, role_arn=ROLE))()
    assert caught.value.reason is Reason.UNAUTHENTICATED
    assert "own-secret" not in caught.value.message
    assert not caplog.records  # botocore's own words go nowhere


async def test_a_token_service_that_is_away(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    source = IdentitySource(Identity(REGION, OWN, role_arn=ROLE))
    with pytest.raises(UpstreamError, match="is away") as caught:
        await source()
    assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", amazon.url)
    assert (await source()).session_token == "role-token"  # and is asked anew once it is back


def test_without_botocore_the_config_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_identity, "find_spec", lambda _: None)
    with pytest.raises(MissingLibrary, match=r"headgate\[bedrock\]"):
        IdentitySource(Identity(REGION))


def test_botocore_is_imported_on_first_use_alone() -> None:
    code = "import sys, gateway.wiring.kinds; sys.exit('botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0
