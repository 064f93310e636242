"""Has an adapter write a request, and whatever it says of the caller's fields said in the caller's words."""

from __future__ import annotations

import msgspec

from gateway.core.adapter import Adapter, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment


def encoded(
    adapter: Adapter, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched
) -> UpstreamRequest:
    """Returns the request; raises BadRequest naming the field as the caller calls it."""
    try:
        request = adapter.encode(call, deployment, dialect, fetched)
    except BadRequest as error:
        if error.param is not None:
            (own,) = dialect.fields(call, (error.param,))
            error.message = error.message.replace(error.param, own)
            error.param = own
        raise
    if not request.warnings:
        return request
    split = [warning.partition(": ") for warning in request.warnings]
    own_names = dialect.fields(call, [field for field, _, _ in split])
    told = dict.fromkeys(f"{own}{colon}{what}" for own, (_, colon, what) in zip(own_names, split, strict=True))
    return msgspec.structs.replace(request, warnings=tuple(told))
