from hashlib import sha256

import pytest

from gateway.auth import Keys, Team, anonymous, create_key, digest_of, hash_of, keys_of
from gateway.core.errors import Unauthorized
from gateway.state.protocols import KeyRow

LEVELS = ("public", "internal", "confidential", "restricted")
PLAIN = "hg-0123456789abcdefghijklmnopqrstuv"
NOW = 1_800_000_000.0


def keys(**fields: object) -> Keys:
    row = KeyRow(hash=hash_of(PLAIN), name="alice", **fields)  # type: ignore[arg-type]
    return keys_of([row], LEVELS, {"sales": Team(sensitivity=1, tags=(("cost_center", "4711"), ("project", "none")))})


def test_a_known_key_is_its_principal_with_what_its_team_adds() -> None:
    principal = keys(team="sales", user="al", tags=(("project", "crm"),), models=("chat",)).authenticate(
        f"Bearer {PLAIN}".encode(), NOW
    )
    assert (principal.key, principal.team, principal.user) == ("alice", "sales", "al")
    assert principal.tags == (("cost_center", "4711"), ("project", "crm"))
    assert principal.sensitivity == 1
    assert principal.models == {"chat"}
    assert principal.routes is None


@pytest.mark.parametrize(("own", "floor"), [("restricted", 3), ("public", 1), (None, 1), ("a level that is gone", 3)])
def test_the_floor_is_the_higher_of_key_and_team_and_fails_closed(own: str | None, floor: int) -> None:
    assert keys(team="sales", sensitivity=own).authenticate(f"bearer {PLAIN}".encode(), NOW).sensitivity == floor


@pytest.mark.parametrize(
    "header",
    [None, b"", b"Bearer", b"Bearer ", b"Basic abc", b"Bearer hg-wrong", PLAIN.encode(), b"Bearer \xff\xfe"],
)
def test_whoever_has_no_known_key_is_refused(header: bytes | None) -> None:
    with pytest.raises(Unauthorized) as refusal:
        keys().authenticate(header, NOW)
    assert (refusal.value.status, refusal.value.code) == (401, "invalid_api_key")


def test_a_refusal_never_repeats_the_key() -> None:
    for some, header in ((keys(), "Bearer hg-wrong-and-secret"), (keys(enabled=False), f"Bearer {PLAIN}")):
        with pytest.raises(Unauthorized) as refusal:
            some.authenticate(header.encode(), NOW)
        assert header.split()[1] not in refusal.value.message


def test_a_key_ends_at_its_expiry() -> None:
    expiring = keys(expires_at=NOW)
    assert expiring.authenticate(f"Bearer {PLAIN}".encode(), NOW - 1).key == "alice"
    with pytest.raises(Unauthorized, match="expired"):
        expiring.authenticate(f"Bearer {PLAIN}".encode(), NOW)


def test_a_disabled_key_is_refused_even_where_anybody_may_call() -> None:
    row = KeyRow(hash=hash_of(PLAIN), name="alice", enabled=False)
    with pytest.raises(Unauthorized, match="disabled"):
        keys_of([row], LEVELS, anonymous=anonymous()).authenticate(f"Bearer {PLAIN}".encode(), NOW)


@pytest.mark.parametrize("header", [None, b"Bearer anything", b"Basic abc"])
def test_an_open_gateway_knows_strangers_as_one(header: bytes | None) -> None:
    some = keys_of([KeyRow(hash=hash_of(PLAIN), name="alice")], LEVELS, anonymous=anonymous())
    assert some.authenticate(header, NOW).key == "open"
    assert some.authenticate(f"Bearer {PLAIN}".encode(), NOW).key == "alice"


def test_of_two_keys_with_one_hash_the_first_holds() -> None:
    rows = [KeyRow(hash=hash_of(PLAIN), name="config"), KeyRow(hash=hash_of(PLAIN), name="store")]
    assert keys_of(rows, LEVELS).authenticate(f"Bearer {PLAIN}".encode(), NOW).key == "config"


def test_a_new_key_has_192_bits_and_is_kept_as_its_hash() -> None:
    plain, kept = create_key()
    assert plain.startswith("hg-")
    assert len(plain) == 3 + 32
    assert digest_of(kept) == sha256(plain.encode()).digest()
    assert create_key()[0] != plain


@pytest.mark.parametrize("text", ["", PLAIN, "sha256:abc", "sha256:" + "g" * 64, "md5:" + "0" * 64])
def test_a_hash_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal") as refusal:
        digest_of(text)
    assert not text or text not in str(refusal.value)
