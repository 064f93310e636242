"""Which fields of a key who may change, and which way."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.access import Visitor
from gateway.admin.key_rules import EDITABLE, FieldForbidden, edit_key, may_see, new_key
from gateway.core.allowances import Budget, RateLimits
from gateway.state.protocols import KeyRow

LEVELS = ("public", "internal", "confidential", "restricted")
ADMIN = Visitor("admin", "admin")
OWNER = Visitor("olga", "owner", "red")
VIEWER = Visitor("vera", "viewer", "red")

CENT = 10_000_000
KEY = KeyRow(
    hash="sha256:" + "0" * 64,
    name="ada",
    team="red",
    user="ada@example.com",
    tags=(("project", "crm"),),
    models=("chat", "smart"),
    routes=("chat",),
    sensitivity="internal",
    expires_at=1000.0,
    enabled=True,
    budgets=(Budget(100 * CENT, "month"),),
    limits=RateLimits(calls_per_minute=60, in_flight=5),
)
OPEN = KeyRow(hash="sha256:" + "1" * 64, name="bob", team="red")

# field -> what an owner may make of KEY, and what he may not
NARROWER: dict[str, list[Any]] = {
    "user": ["eve@example.com", None],
    "strict": [True],
    "enabled": [False],
    "expires_at": [999.0],
    "sensitivity": ["confidential", "restricted"],
    "models": [("chat",), ()],
    "routes": [()],
    "budgets": [
        (Budget(50 * CENT, "month"),),
        (Budget(100 * CENT, "month", reject_at=50, notify_at=(10,)),),
        (Budget(100 * CENT, "month"), Budget(1000 * CENT, "day")),
    ],
    "limits": [RateLimits(calls_per_minute=60, in_flight=4), RateLimits(30, 1000, 1)],
}
WIDER: dict[str, list[Any]] = {
    "team": ["blue", None],
    "role": ["admin", "owner", "viewer"],
    "tags": [(), (("project", "web"),)],
    "expires_at": [1001.0, None],
    "sensitivity": ["public", None],
    "models": [("chat", "smart", "big"), None, ("big",)],
    "routes": [("chat", "other"), None],
    "budgets": [
        (),
        (Budget(101 * CENT, "month"),),
        (Budget(100 * CENT, "day"),),
        (Budget(100 * CENT, "month", reject_at=None),),
        (Budget(100 * CENT, "month", reject_at=101),),
        (Budget(100 * CENT, "month", zone="Europe/Berlin"),),
    ],
    "limits": [RateLimits(), RateLimits(61, None, 5), RateLimits(60, None, None)],
}


def cases(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(field, value) for field, values in table.items() for value in values]


def forbidden(visitor: Visitor, before: KeyRow, **changes: Any) -> str | None:
    """Returns the field that is named."""
    with pytest.raises(FieldForbidden) as caught:
        edit_key(visitor, before, changes, LEVELS)
    assert caught.value.status == 403
    return caught.value.param


@pytest.mark.parametrize(("field", "value"), cases(NARROWER) + cases(WIDER))
def test_an_admin_may_change_every_field(field: str, value: Any) -> None:
    assert getattr(edit_key(ADMIN, KEY, {field: value}, LEVELS), field) == value


@pytest.mark.parametrize(("field", "value"), cases(NARROWER))
def test_an_owner_may_make_a_key_of_his_team_narrower(field: str, value: Any) -> None:
    edited = edit_key(OWNER, KEY, {field: value}, LEVELS)
    assert getattr(edited, field) == value
    assert [name for name in EDITABLE if getattr(edited, name) != getattr(KEY, name)] == (
        [field] if value != getattr(KEY, field) else []
    )


@pytest.mark.parametrize(("field", "value"), cases(WIDER))
def test_an_owner_may_not_make_it_wider(field: str, value: Any) -> None:
    assert forbidden(OWNER, KEY, **{field: value}) == field
    assert forbidden(OWNER, KEY, user="x", **{field: value}) == field  # nor beside something that he may


def test_every_field_has_been_tried() -> None:
    assert set(NARROWER) | set(WIDER) == set(EDITABLE)


def test_an_owner_may_switch_a_key_off_and_not_on_again() -> None:
    off = edit_key(OWNER, KEY, {"enabled": False}, LEVELS)
    assert forbidden(OWNER, off, enabled=True) == "enabled"


def test_to_bound_what_was_not_is_narrower() -> None:
    bounds = {
        "models": ("chat",),
        "expires_at": 5.0,
        "sensitivity": "internal",
        "limits": RateLimits(1, 1, 1),
        "budgets": (Budget(1, "day"),),
    }
    edited = edit_key(OWNER, OPEN, bounds, LEVELS)
    assert {field: getattr(edited, field) for field in bounds} == bounds


def test_saying_again_what_is_so_changes_nothing_and_is_nobodys_crime() -> None:
    said = {field: getattr(KEY, field) for field in EDITABLE}
    assert edit_key(OWNER, KEY, said, LEVELS) == KEY


def test_a_floor_that_the_config_no_longer_knows_counts_as_the_highest() -> None:
    secret = edit_key(ADMIN, KEY, {"sensitivity": "gone"}, LEVELS)
    assert forbidden(OWNER, secret, sensitivity="restricted") == "sensitivity"


@pytest.mark.parametrize("team", ["blue", None])
def test_an_owner_changes_no_key_of_others(team: str | None) -> None:
    other = edit_key(ADMIN, KEY, {"team": team}, LEVELS)
    assert not may_see(OWNER, other)
    for field, value in cases(NARROWER):
        assert forbidden(OWNER, other, **{field: value}) == "team"


def test_an_admins_key_is_not_an_owners_to_steer() -> None:
    assert forbidden(OWNER, edit_key(ADMIN, KEY, {"role": "admin"}, LEVELS), enabled=False) == "role"


@pytest.mark.parametrize(("field", "value"), cases(NARROWER))
def test_a_viewer_changes_nothing(field: str, value: Any) -> None:
    assert may_see(VIEWER, KEY)
    assert forbidden(VIEWER, KEY, **{field: value}) == "team"


@pytest.mark.parametrize("field", ["name", "hash", "created_at", "previous_hash", "previous_until", "nonsense"])
@pytest.mark.parametrize("visitor", [ADMIN, OWNER])
def test_nobody_changes_what_a_key_is_known_by(visitor: Visitor, field: str) -> None:
    assert forbidden(visitor, KEY, **{field: "x"}) == field


# -- new keys -------------------------------------------------------------------------------------------------------

NAMED = KeyRow(hash="sha256:" + "2" * 64, name="new")
OWN = KeyRow(
    hash="sha256:" + "3" * 64,
    name="olga",
    team="red",
    role="owner",
    models=("chat",),
    sensitivity="internal",
    expires_at=500.0,
    limits=RateLimits(calls_per_minute=10),
)


def test_an_admin_makes_any_key() -> None:
    made = new_key(ADMIN, NAMED, {"team": "blue", "role": "admin"}, None, LEVELS)
    assert (made.name, made.team, made.role) == ("new", "blue", "admin")


def test_an_owners_key_begins_as_narrow_as_his_own() -> None:
    made = new_key(OWNER, NAMED, {"user": "x", "team": "red", "sensitivity": "restricted"}, OWN, LEVELS)
    assert (made.team, made.models, made.expires_at, made.limits) == ("red", ("chat",), 500.0, OWN.limits)
    assert (made.sensitivity, made.role, made.user) == ("restricted", None, "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("team", "blue"),
        ("team", None),
        ("role", "owner"),
        ("role", "admin"),
        ("models", ("chat", "smart")),
        ("models", None),
        ("sensitivity", None),
        ("expires_at", None),
        ("limits", RateLimits()),
        ("tags", (("project", "web"),)),
    ],
)
def test_an_owner_makes_no_key_that_may_more_than_his_own(field: str, value: Any) -> None:
    with pytest.raises(FieldForbidden) as caught:
        new_key(OWNER, NAMED, {field: value}, OWN, LEVELS)
    assert caught.value.param == field


def test_an_owner_whose_key_has_a_budget_makes_none_around_it() -> None:
    bounded = edit_key(ADMIN, OWN, {"budgets": (Budget(CENT, "day"),)}, LEVELS)
    with pytest.raises(FieldForbidden) as caught:
        new_key(OWNER, NAMED, {}, bounded, LEVELS)
    assert caught.value.param == "budgets"


@pytest.mark.parametrize("visitor", [VIEWER, Visitor("loopback", "viewer"), OWNER])
def test_others_make_no_keys(visitor: Visitor) -> None:
    with pytest.raises(FieldForbidden):
        new_key(visitor, NAMED, {}, None, LEVELS)
