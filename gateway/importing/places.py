"""Where a model of LiteLLM's stands and who signs for it -> a provider of ours."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.config.units import header, http_url
from gateway.importing.draft import Data, Draft, Entry, name_for
from gateway.importing.given import Given
from gateway.importing.prefixes import Prefix
from gateway.importing.variables import NO_KEY, Variables, is_variable

_UNSET_URL: Final = "https://unset.invalid"
_OPENAI_HOST: Final = "api.openai.com"
_AWS_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_GOOGLE_REGION: Final = re.compile(r"[a-z]+(?:-[a-z]+\d*)*")
_GOOGLE_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]{1,63}")
_TELLING: Final = re.compile(r"auth|key|token|secret|cookie|password|credential|signature", re.IGNORECASE)
_TOKEN_LENGTH: Final = 20  # a header's value that is as long and has no space may be a secret
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9_]+)\}")
_NO_WORDS: Final = re.compile(r"_?(api_base|base_url|api_url|base|endpoint|url)(?=_|$)")
_PRINTABLE: Final = re.compile(r"[ -~]*")


class Params:
    """An entry's `litellm_params`, with what the credential that it names stands for."""

    def __init__(self, own: Given, credential: Given | None) -> None:
        self.own = own
        self._credential = credential

    def get(self, *keys: str) -> Given | None:
        """Returns the first of these that has a value."""
        for source in (self.own, self._credential):
            for key in keys:
                given = source.get(key) if source is not None else None
                if given is not None and (given.value is not None or any(given.fields()) or any(given.items())):
                    return given
        return None

    def text(self, *keys: str) -> Given | None:
        """Returns the first of these that is text."""
        given = self.get(*keys)
        return given if given is not None and given.text is not None else None


class Place(msgspec.Struct, frozen=True):
    """A provider in the making: what is written of it, what to name it after, whether it stands on private ground."""

    body: dict[str, Data]
    hint: str
    private: bool = False


class Places:
    """The providers that are made; entries that stand at the same place with the same credential share one."""

    def __init__(self, draft: Draft, variables: Variables, timeouts: dict[str, Data]) -> None:
        self._draft = draft
        self._variables = variables
        self._timeouts = timeouts
        self._names: dict[bytes, str] = {}

    def take(self, provider: str, prefix: Prefix, params: Params, region: str | None) -> tuple[str, Place]:
        """Takes over where an entry stands; returns the provider's name and what is written of it."""
        place = self._read(provider, prefix, params, region)
        if self._timeouts:
            place.body["timeouts"] = dict(self._timeouts)
        known = msgspec.json.encode(place.body)
        name = self._names.get(known)
        if name is None:
            name = self._names[known] = name_for(place.hint, self._draft.providers)
            self._draft.providers[name] = Entry(place.body, params.own.line)
        return name, place

    def _read(self, provider: str, prefix: Prefix, params: Params, region: str | None) -> Place:
        kind, address = prefix.kind, self._address(provider, prefix, params)
        field = "endpoint" if kind == "azure" else "base_url"
        host = urlsplit(address or "").hostname or ""
        if kind == "openai" and address is not None and host != _OPENAI_HOST:
            kind = "openai_compatible"
        if kind == "huggingface" and address is not None:
            kind = "tgi"
        body: dict[str, Data] = {"kind": kind}
        if address is not None:
            body[field] = address
        hint = _hint(provider, address or "", host)
        if kind == "bedrock":
            body |= self._bedrock(params, region, address is not None)
        elif kind == "vertex":
            body |= self._vertex(params)
        else:
            body |= self._key(hint, prefix, params, kind)
        if kind == "azure":
            body |= self._azure(params)
        headers = self._headers(hint, params)
        if headers:
            body["headers"] = headers
        return Place(body, hint, _is_private(host))

    def _address(self, provider: str, prefix: Prefix, params: Params) -> str | None:
        given = params.get("api_base", "base_url", "aws_bedrock_runtime_endpoint")
        field = "endpoint" if prefix.kind == "azure" else "base_url"
        if given is None:
            if prefix.address_variable is not None:
                return self._variables.variable(prefix.address_variable, True, _UNSET_URL)
            return prefix.address
        if is_variable(given):
            address = self._variables.plain(given, _UNSET_URL)
            if prefix.version:
                given.near(f"{field}: {address}{prefix.version}", f"{prefix.version} is a part of the address here")
                return address + prefix.version
            given.exact(f"{field}: {address}")
            return address
        try:
            address = http_url(given.value)
        except ValueError:
            told = f"put the address of {provider} there: {given.at} has none that can be read"
            address = self._variables.invented(f"{provider}_API_BASE", told, _UNSET_URL)
            given.near(f"{field}: {address}", "what stands here is no address that can be called")
            return address
        address = address.replace("${", "$${")
        if prefix.version and not address.endswith(prefix.version):
            address += prefix.version
        given.exact(f"{field}: {address}", "" if address == given.value else "as it is called")
        return address

    def _key(self, hint: str, prefix: Prefix, params: Params, kind: str) -> dict[str, Data]:
        given = params.get("api_key")
        if given is None:
            if kind == "azure" and params.get("tenant_id", "client_id", "client_secret") is not None:
                return {}
            return {"api_key": self._variables.variable(prefix.key)} if prefix.key is not None else {}
        if (
            not is_variable(given)
            and str(given.value).lower() in NO_KEY
            and (prefix.free or kind == "openai_compatible")
        ):
            given.near("no api_key", "what stands here is no key, and none is sent")
            return {}
        written = self._variables.secret(given, prefix.key if prefix.key and "-" not in hint else f"{hint}_API_KEY")
        _told_secret(given, f"api_key: {written}", written)
        return {"api_key": written}

    def _azure(self, params: Params) -> dict[str, Data]:
        body: dict[str, Data] = {}
        version = params.text("api_version")
        if version is not None:
            if version.value in ("preview", "latest", "v1"):
                version.near("no api_version", "Azure's /openai/v1 is spoken, which has no dated versions")
            else:
                body["api_version"] = self._variables.plain(version)
                version.exact(f"api_version: {body['api_version']}")
        tenant, client, secret = (params.text(name) for name in ("tenant_id", "client_id", "client_secret"))
        if params.get("api_key") is None and tenant is not None and client is not None:
            for name, given in (("tenant_id", tenant), ("client_id", client)):
                body[name] = self._variables.plain(given)
                given.exact(f"{name}: {body[name]}")
            if secret is not None:
                body["client_secret"] = written = self._variables.secret(secret, "AZURE_CLIENT_SECRET")
                _told_secret(secret, f"client_secret: {written}", written)
        else:
            for left in (tenant, client, secret):
                if left is not None:
                    left.lost("a key is sent, or the identity lacks tenant_id or client_id")
        token = params.get("azure_ad_token")
        if token is not None:
            token.lost("tokens end within hours: give tenant_id, client_id and client_secret, or a managed identity")
        return body

    def _bedrock(self, params: Params, in_model: str | None, has_address: bool) -> dict[str, Data]:
        body: dict[str, Data] = {}
        region, key = params.text("aws_region_name", "region_name"), params.get("api_key")
        if region is not None:
            body["region"] = self._fitting(region, _AWS_REGION, "AWS_REGION", "us-east-1", "region")
        elif in_model is not None:
            body["region"] = in_model
        elif not has_address or key is None:  # a signature names its region, whatever the address
            body["region"] = self._variables.variable("AWS_REGION", True, "us-east-1")
        if key is not None:
            written = self._variables.secret(key, "AWS_BEARER_TOKEN_BEDROCK")
            _told_secret(key, f"api_key: {written}", written)
            return body | {"api_key": written}
        id, secret, token, profile, role, external = (
            params.text(name)
            for name in (
                "aws_access_key_id",
                "aws_secret_access_key",
                "aws_session_token",
                "aws_profile_name",
                "aws_role_name",
                "aws_external_id",
            )
        )
        if id is not None and secret is not None:
            named = [("access_key_id", id), ("secret_access_key", secret)] + (
                [("session_token", token)] if token else []
            )
            for name, given in named:
                body[name] = written = self._variables.secret(given, f"AWS_{name}")
                _told_secret(given, f"{name}: {written}", written)
        elif profile is not None:
            body["profile"] = self._variables.plain(profile)
            profile.exact(f"profile: {body['profile']}")
        if role is not None:
            body["role_arn"] = self._variables.plain(role)
            role.exact(f"role_arn: {body['role_arn']}")
            if external is not None:
                body["external_id"] = self._variables.plain(external)
                external.exact(f"external_id: {body['external_id']}")
        for left in (id, secret, token, profile, external):
            if left is not None:
                left.lost("half an identity, or a second one beside that which signs")
        return body

    def _vertex(self, params: Params) -> dict[str, Data]:
        body: dict[str, Data] = {}
        key = params.get("api_key")
        project = params.text("vertex_project", "vertex_ai_project")
        if project is not None:
            body["project"] = self._fitting(project, _GOOGLE_PROJECT, "VERTEXAI_PROJECT", "unset", "project")
        elif key is None:
            body["project"] = self._variables.variable("VERTEXAI_PROJECT", True)
        region = params.text("vertex_location", "vertex_ai_location", "region_name")
        if region is not None:
            body["region"] = self._fitting(region, _GOOGLE_REGION, "VERTEXAI_LOCATION", "us-central1", "region")
        else:
            body["region"] = "us-central1"  # LiteLLM's own default
        if key is not None:
            written = self._variables.secret(key, "VERTEXAI_API_KEY")
            _told_secret(key, f"api_key: {written}", written)
            return body | {"api_key": written}
        credentials = params.get("vertex_credentials", "vertex_ai_credentials")
        if credentials is None:
            return body
        text = credentials.text
        if text is not None and not is_variable(credentials) and not text.lstrip().startswith("{"):
            body["credentials"] = {"file": text.replace("${", "$${")}
            credentials.exact("credentials: {file: …}", "found from the folder of the config")
            return body
        if text is not None:
            body["credentials"] = written = self._variables.secret(credentials, "GOOGLE_APPLICATION_CREDENTIALS")
        else:
            told = f"put the JSON of {credentials.at} there; it was not copied"
            body["credentials"] = written = self._variables.invented("VERTEX_CREDENTIALS", told, "unset")
        _told_secret(credentials, f"credentials: {written}", written)
        return body

    def _fitting(self, given: Given, pattern: re.Pattern[str], hint: str, stand_in: str, field: str) -> str:
        """Takes over a word of a form that our kind holds to; another becomes a variable to be set."""
        if is_variable(given):
            written = self._variables.plain(given, stand_in)
            given.exact(f"{field}: {written}")
        elif pattern.fullmatch(str(given.value)):
            written = str(given.value)
            given.exact(f"{field}: {written}")
        else:
            told = f"put the {field} there: that of {given.at} cannot be one"
            written = self._variables.invented(hint, told, stand_in)
            given.near(f"{field}: {written}", f"what stands here is no {field}")
        return written

    def _headers(self, hint: str, params: Params) -> dict[str, Data]:
        headers: dict[str, Data] = {}
        organization = params.text("organization")
        if organization is not None:
            headers["openai-organization"] = self._variables.plain(organization)
            organization.exact(f"headers.openai-organization: {headers['openai-organization']}")
        for source in ("extra_headers", "headers"):
            given = params.get(source)
            for name, value in given.fields() if given is not None else ():
                try:
                    known = header(name)
                except ValueError:
                    value.lost("no name that a header can have")
                    continue
                if value.text is None or known in headers or not _PRINTABLE.fullmatch(value.text):
                    value.lost("no text that a header can hold, or the header is there already")
                elif not is_variable(value) and _is_telling(known, value.text):
                    headers[known] = written = self._variables.secret(value, f"{hint}_{known}", needed=True)
                    _told_secret(value, f"headers.{known}: {written}", written)
                else:
                    headers[known] = written = self._variables.plain(value)
                    value.exact(f"headers.{known}: {written}")
        return headers


def _told_secret(given: Given, became: str, written: str) -> None:
    if is_variable(given):
        given.exact(became)
    else:
        given.near(became, f"a secret in clear was not copied: put it into {written[2:-1]}")


def _is_telling(name: str, value: str) -> bool:
    """Says whether a header may hold a secret."""
    return bool(_TELLING.search(name)) or (len(value) >= _TOKEN_LENGTH and " " not in value)


def _hint(provider: str, address: str, host: str) -> str:
    """Returns what to name a provider after: its host or, where its address is a variable's, that."""
    variable = _VARIABLE.match(address)
    if variable is not None:
        words = _NO_WORDS.sub("", variable[1].lower()).strip("_").replace("_", "-")
        return provider if words in ("", provider.replace("_", "-")) else f"{provider}-{words}"
    first = host.split(".")[0]
    return f"{provider}-{first}" if any(character.isalpha() for character in first) and ":" not in host else provider


def _is_private(host: str) -> bool:
    """Says whether an address is of one's own network: nobody charges by the token there."""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return bool(host) and ("." not in host or host.endswith((".local", ".internal", ".svc", ".lan")))
