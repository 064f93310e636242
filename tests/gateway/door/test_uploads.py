"""Forms taken from a caller: held until they can be routed, within bounds that all callers share."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import BadRequest, ClientGone, Forbidden, Overloaded, TooLarge
from gateway.door.uploads import SMALL_BYTES, CallersForm, Held

FIELD = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
END = b"\r\n--b--\r\n"
MODEL = FIELD % (b"model", b"ours")


class Caller:
    """ASGI's receive, one piece at a time."""

    def __init__(self, *pieces: bytes, leaves: bool = False) -> None:
        self.pieces = list(pieces)
        self.leaves = leaves
        self.asked = 0

    async def receive(self):
        self.asked += 1
        await asyncio.sleep(0)
        if not self.pieces:
            assert self.leaves
            return {"type": "http.disconnect"}
        body = self.pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.pieces) or self.leaves}


def form_of(caller: Caller, *, limit: int = 2**30, held: Held | None = None, length: int | None = None) -> CallersForm:
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return CallersForm({"headers": headers}, caller.receive, limit, held or Held(2**30))


async def rest_of(form: CallersForm, out: list[bytes] | None = None) -> bytes:
    assert form.upload is not None
    out = [] if out is None else out
    while (piece := await form.upload.next()) is not None:
        out.append(piece)
    return b"".join(out)


async def test_a_large_form_is_read_as_far_as_routing_needs():
    pieces = [MODEL, FILE + b"x", b"y" * 100, b"z" * 100, END]
    caller = Caller(*pieces)
    form = form_of(caller, length=10_000_000)
    await form.open()
    assert caller.asked == 2
    assert form.fields == {"model": "ours"}
    assert form.upload is not None
    assert not form.upload.spent
    head = form.head("their-name")
    rest = await rest_of(form)
    assert head + rest == b"".join(pieces).replace(b"ours", b"their-name")
    assert form.upload.spent


async def test_the_length_of_the_rest_is_what_is_still_to_come():
    pieces = [MODEL + FILE + b"x" * 50, b"y" * (SMALL_BYTES + 1), END]
    form = form_of(Caller(*pieces), length=sum(map(len, pieces)))
    await form.open()
    assert form.upload is not None
    length = form.upload.length
    assert length == len(await rest_of(form))
    unknown = form_of(Caller(*pieces))
    await unknown.open()
    assert unknown.upload is not None
    assert unknown.upload.length is None


async def test_a_small_form_is_read_whole_so_that_it_can_be_sent_again():
    pieces = [MODEL, FILE + b"x", END]
    form = form_of(Caller(*pieces), length=sum(map(len, pieces)))
    await form.open()
    assert form.upload is None
    assert form.head("a") == form.head("a") == b"".join(pieces).replace(b"ours", b"a")


async def test_a_model_behind_the_file_is_waited_for():
    held = Held(10 * SMALL_BYTES)
    form = form_of(Caller(FILE + b"x" * (2 * SMALL_BYTES), b"\r\n" + MODEL, b"--b--\r\n"), held=held)
    await form.open()
    assert form.fields["model"] == "ours"
    assert form.upload is None


async def test_forms_that_are_held_share_a_bound_and_give_it_back():
    held = Held(3 * SMALL_BYTES)
    big = FILE + b"x" * (2 * SMALL_BYTES)
    first = form_of(Caller(big, b"\r\n" + MODEL, b"--b--\r\n"), held=held)
    await first.open()
    second = form_of(Caller(big, b"\r\n" + MODEL, b"--b--\r\n"), held=held)
    with pytest.raises(Overloaded) as error:
        await second.open()
    assert error.value.code == "forms_held"
    second.close()
    prompt = form_of(Caller(MODEL, big, END), held=held)  # one that names its model first is not in anybody's way
    await prompt.open()
    prompt.close()
    first.close()
    third = form_of(Caller(big, b"\r\n" + MODEL, b"--b--\r\n"), held=held)
    await third.open()
    third.close()
    held.change(0, 3 * SMALL_BYTES)  # nothing is left over


async def test_what_is_on_its_way_is_held_by_nobody():
    held = Held(3 * SMALL_BYTES)
    form = form_of(Caller(MODEL + FILE + b"x" * (2 * SMALL_BYTES), END), held=held)
    await form.open()
    await rest_of(form)
    held.change(0, 3 * SMALL_BYTES)


@pytest.mark.parametrize("length", [None, 10_000])
async def test_a_form_past_the_limit_is_refused(length):
    async def pass_on() -> None:
        form = form_of(Caller(MODEL + FILE, b"x" * 600, b"x" * 600, END), limit=1000, length=length)
        await form.open()
        await rest_of(form)

    with pytest.raises(TooLarge):
        await pass_on()


async def test_a_caller_that_leaves_is_gone_before_and_after_routing():
    with pytest.raises(ClientGone):
        await form_of(Caller(MODEL, leaves=True)).open()
    form = form_of(Caller(MODEL + FILE, b"x", leaves=True))
    await form.open()
    with pytest.raises(ClientGone):
        await rest_of(form)


async def test_a_form_that_ends_too_early_never_ends_for_the_provider():
    form = form_of(Caller(MODEL + FILE + b"x", b"y" * 100))
    await form.open()
    with pytest.raises(BadRequest):
        await rest_of(form)


async def test_fields_behind_the_file_are_judged_before_they_go_on():
    judged = []

    def judge(text: bytes) -> None:
        judged.append(text)
        if b"secret" in text:
            raise Forbidden("no")

    prompt = b"\r\n" + FIELD % (b"prompt", b"plain")
    form = form_of(Caller(MODEL + FILE, b"x", prompt, FIELD % (b"note", b"a secret"), b"--b--\r\n"))
    await form.open()
    form.watch(judge)
    went: list[bytes] = []
    with pytest.raises(Forbidden):
        await rest_of(form, went)
    assert judged == [b"plain", b"a secret"]
    assert b"plain" in b"".join(went)
    assert b"secret" not in b"".join(went)
