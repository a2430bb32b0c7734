"""Whose a path is and who may see it."""

import pytest

from ztm.core import access
from ztm.errors import ForbiddenError, LimitError, UsageError
from ztm.model import Acl

SHARED = "/apps/ztm/tunnel/shared/bob"


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("/users/bob/a", "bob"),
        ("/shared/bob/a/b", "bob"),
        ("/apps/ztm/tunnel/users/bob/a", "bob"),
        ("/apps/ztm/tunnel/shared/bob/a", "bob"),
        ("/apps/users/shared/users/bob/a", "bob"),
        ("/users/bob", None),
        ("/users/bob/", None),
        ("/users//a", None),
        ("/other/x", None),
        ("/apps/ztm/shared/bob/a", None),
        ("users/bob/a", None),
        ("x/users/bob/a", None),
    ],
)
def test_four_shapes_of_paths_have_owners(path, owner):
    assert access.owner_of(path) == owner


@pytest.mark.parametrize(
    ("path", "user", "readable"),
    [
        ("/users/bob/a", "bob", True),
        ("/users/bob/a", "root", False),
        ("/shared/bob/a", "alice", True),
        ("/apps/p/a/users/bob/x", "bob", True),
        ("/apps/p/a/users/bob/x", "root", False),
        ("/apps/p/a/shared/bob/x", "alice", True),
        ("/other/x", "root", False),
    ],
)
def test_without_acls_what_is_shared_is_readable_and_the_rest_is_the_owners(path, user, readable):
    assert access.may_read(path, user, {}) == readable


def acls(*entries):
    return {path: Acl(path, everyone, users, 1) for path, everyone, users in entries}


def test_the_deepest_entry_with_a_word_for_the_user_wins():
    entries = acls(
        (SHARED, "block", {}),
        (f"{SHARED}/open", "readonly", {"eve": "block"}),
        (f"{SHARED}/open/silent", "", {}),
        (f"{SHARED}/open/deep", "", {"eve": "readonly"}),
    )
    assert not access.may_read(f"{SHARED}/x", "alice", entries)
    assert access.may_read(f"{SHARED}/x", "bob", entries), "the owner always reads"
    assert access.may_read(f"{SHARED}/open/x", "alice", entries)
    assert not access.may_read(f"{SHARED}/open/x", "eve", entries)
    assert not access.may_read(f"{SHARED}/open/silent/x", "eve", entries)
    assert access.may_read(f"{SHARED}/open/deep", "eve", entries)
    assert access.may_read(f"{SHARED}2/x", "alice", entries)
    assert not access.may_read(f"{SHARED}/openx", "alice", entries), "a prefix ends at a slash"


def test_an_acl_elsewhere_rules_nothing():
    assert access.may_read("/shared/bob/a", "alice", acls(("/shared/bob/a", "block", {})))
    assert access.may_read(f"{SHARED}/a", "alice", acls(("/apps/ztm/tunnel/shared", "block", {})))


def test_only_newer_entries_below_ones_own_shared_app_paths_are_taken():
    stored = {SHARED: Acl(SHARED, "block", {}, 5)}
    offered = {
        SHARED: Acl(SHARED, "", {}, 5),
        f"{SHARED}/a": Acl(f"{SHARED}/a", "block", {}, 1),
        "/apps/p/a/shared/alice/x": Acl("/apps/p/a/shared/alice/x", "block", {}, 9),
        "/shared/bob/x": Acl("/shared/bob/x", "block", {}, 9),
        f"{SHARED}/../alice": Acl(f"{SHARED}/../alice", "block", {}, 9),
    }
    assert access.merge_acls(stored, offered, "bob") == [offered[f"{SHARED}/a"]]
    newer = Acl(SHARED, "readonly", {}, 6)
    assert access.merge_acls(stored, {SHARED: newer}, "bob") == [newer]
    assert access.merge_acls(stored, {SHARED: newer}, "alice") == []


def test_a_user_has_a_bounded_number_of_acls():
    offered = acls(*((f"{SHARED}/{at}", "block", {}) for at in range(access.MAX_ACLS + 1)))
    with pytest.raises(LimitError, match="bob"):
        access.merge_acls({}, offered, "bob")
    stored = dict(list(offered.items())[: access.MAX_ACLS])
    assert access.merge_acls(stored, {SHARED + "/1": Acl(SHARED + "/1", "", {}, 2)}, "bob")


@pytest.mark.parametrize(
    "path", ["", "/", "a/b", "/a//b", "/a/", "/a/./b", "/a/../b", "/a\n", "/a\x00b", "/" + "x" * 1024]
)
def test_malformed_paths_are_refused(path):
    with pytest.raises(UsageError):
        access.check_path(path)


def test_a_wellformed_path_passes():
    assert access.check_path("/shared/bob/x y ü..txt") == "/shared/bob/x y ü..txt"


def test_an_offer_is_for_its_owner_the_listed_and_with_a_star_for_all():
    assert access.may_use("bob", [], "bob")
    assert not access.may_use("bob", [], "alice")
    assert access.may_use("bob", ["alice"], "alice")
    assert access.may_use("bob", ["*"], "eve")
    assert access.may_enter([], "e1")
    assert access.may_enter(["e1"], "e1")
    assert not access.may_enter(["e2"], "e1")


@pytest.mark.parametrize(
    ("users", "caller", "is_allowed", "rule"),
    [
        ([], "bob", True, "owner"),
        (["alice"], "bob", True, "owner"),
        (["alice"], "alice", True, "user alice"),
        (["alice", "*"], "alice", True, "user alice"),
        (["*"], "eve", True, "everyone"),
        ([], "alice", False, "only bob"),
        (["carol"], "alice", False, "only bob, carol"),
    ],
)
def test_a_verdict_names_the_rule_that_it_follows(users, caller, is_allowed, rule):
    assert access.judge("bob", users, caller) == access.Verdict(is_allowed, rule)


@pytest.mark.parametrize("owner", ["", "bob"])
@pytest.mark.parametrize("users", [[], [""], ["*"]])
def test_nobody_in_particular_may_use_nothing(owner, users):
    assert not access.judge(owner, users, "").is_allowed


def test_a_refusal_says_who_and_what_and_who_may():
    with pytest.raises(ForbiddenError, match=r"user eve may not use outbound tcp/x: only alice, bob may"):
        access.check_use("bob", ["alice"], "eve", "outbound tcp/x")
    assert access.check_use("bob", ["alice"], "alice", "outbound tcp/x").rule == "user alice"


@pytest.mark.parametrize(
    "path", ["/users/bob/x", "/shared/bob/x/y", "/apps/ztm/tunnel/shared/bob/x", "/apps/a/b/users/bob/x"]
)
def test_a_user_changes_what_is_below_the_own_name(path):
    access.check_owner(path, "bob")
    for other in ("alice", "root", ""):
        with pytest.raises(ForbiddenError, match=r"belongs to user bob"):
            access.check_owner(path, other)


@pytest.mark.parametrize("path", ["/x", "/shared/bob", "/home/bob/x", "/apps/a/users/bob/x", "/users//x"])
def test_nobody_changes_what_is_outside_the_rooms_of_users(path):
    for user in ("bob", "root", ""):
        with pytest.raises(ForbiddenError, match="nobody has files there"):
            access.check_owner(path, user)
