"""The admin surface of a running gateway, asked over HTTP by commands that steer it."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException
from typing import Any, Final

import msgspec

_TIMEOUT_S: Final = 30.0
_MOST_BYTES: Final = 50_000_000


class Unanswered(Exception):
    """No answer that can be used; its text is for the operator."""


class AdminClient:
    """Asks one gateway; raises Unanswered, which says what to do."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._key = key

    @staticmethod
    def quoted(name: str) -> str:
        """Returns a name as a part of a path."""
        return urllib.parse.quote(name, safe="")

    def get(self, path: str, **parameters: object) -> Any:
        """Reads."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        return self._ask("GET", path + query, None)

    def post(self, path: str, body: object = None) -> Any:
        """Has something done."""
        return self._ask("POST", path, msgspec.json.encode({} if body is None else body))

    def _ask(self, method: str, path: str, body: bytes | None) -> Any:
        if not self._url.startswith(("http://", "https://")):
            raise Unanswered(f"{self._url} is no URL of a gateway: write http://host:port")
        headers = {"content-type": "application/json"} if body is not None else {}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._url + path, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as answer:
                return msgspec.json.decode(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            raise Unanswered(_refused(error)) from None
        except (urllib.error.URLError, OSError, HTTPException) as error:
            why = getattr(error, "reason", None) or type(error).__name__
            raise Unanswered(f"no gateway answers at {self._url} ({why}): name another with --url") from None
        except (msgspec.DecodeError, ValueError):
            raise Unanswered(f"{self._url} does not answer as a gateway does: name another with --url") from None


def _refused(error: urllib.error.HTTPError) -> str:
    try:
        told = msgspec.json.decode(error.read(_MOST_BYTES))["error"]["message"]
    except (msgspec.DecodeError, LookupError, TypeError, OSError):
        return f"the gateway answers {error.code}"
    more = " (HEADGATE_ADMIN_KEY, or --admin-key)" if error.code == 401 else ""
    return f"{told}{more}"
