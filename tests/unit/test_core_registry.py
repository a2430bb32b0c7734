"""Who owns which endpoint, which session leads to it, and when it is forgotten."""

import pytest

from ztm.core.registry import Owner, Registry
from ztm.errors import ForbiddenError, LimitError, NotFoundError
from ztm.model import Address, Version

BOB, ALICE = Owner("bob", "key-b"), Owner("alice", "key-a")
HERE = Address("10.0.0.1", 1000)
THERE = Address("10.0.0.2", 2000)


def registry(**limits):
    return Registry[str]("hub-1", **limits)


def join(known, endpoint_id, owner=BOB, session="s1", now=0.0, name="name", remote=HERE, passive=False):
    known.attach(endpoint_id, name, owner, session, remote, now, passive=passive)


def test_an_endpoint_is_listed_with_what_its_session_and_heartbeat_say():
    known = registry()
    join(known, "e", now=1.0)
    known.heartbeat("e", "new", [], Version("Py", "1"), ["gpu"], 2.5)
    known.pinged("e", 7)
    found = known.endpoint("e", 3.0)
    assert (found.name, found.user, found.ip, found.port) == ("new", "bob", "10.0.0.1", 1000)
    assert (found.labels, found.version.tag, found.heartbeat_ms, found.ping_ms) == (("gpu",), "1", 2500, 7)
    assert found.online
    assert found.control_sessions == 1


def test_an_id_belongs_to_the_first_user_and_key_for_ever():
    known = registry()
    assert known.is_new("e")
    join(known, "e")
    known.detach("e", "s1", 1.0)
    assert known.sweep(1000.0) == ["e"]
    assert not known.is_new("e")
    for other in (ALICE, Owner("bob", "another")):
        with pytest.raises(ForbiddenError, match="belongs to another"):
            join(known, "e", other)
    assert known.endpoint("e", 1000.0) is None
    join(known, "e")
    assert known.owner_of("e") == BOB


def test_owners_known_from_disk_are_kept():
    known = Registry[str]("hub-1", owners={"e": BOB})
    assert not known.is_new("e")
    assert known.keys_of("bob") == ["key-b"]
    with pytest.raises(ForbiddenError):
        known.may_claim("e", ALICE)


def test_this_hub_is_among_the_hubs_as_long_as_there_is_a_control_session():
    known = registry()
    join(known, "e")
    known.heartbeat("e", "", [], Version(), [], 1.0)
    assert known.endpoint("e", 1.0).hubs == ("hub-1",)
    known.heartbeat("e", "", ["hub-2"], Version(), [], 1.0)
    assert known.endpoint("e", 1.0).hubs == ("hub-2", "hub-1")
    known.detach("e", "s1", 2.0)
    known.heartbeat("e", "", ["hub-2"], Version(), [], 3.0)
    assert known.endpoint("e", 3.0).hubs == ("hub-2",)


def test_requests_go_to_the_control_session_added_last():
    known = registry()
    join(known, "e", session="s1")
    join(known, "e", session="s2", remote=THERE)
    join(known, "e", session="p1", passive=True)
    assert known.control("e") == "s2"
    assert known.controls("e") == ["s1", "s2"]
    assert known.passives("e") == ["p1"]
    assert known.endpoint("e", 0.0).ip == "10.0.0.1"
    known.detach("e", "s2", 1.0)
    assert known.control("e") == "s1"
    known.detach("e", "p1", 1.0)
    assert known.passives("e") == []


def test_online_needs_a_control_session_and_a_young_heartbeat():
    known = registry()
    join(known, "e", now=0.0)
    assert known.endpoint("e", 29.9).online
    assert not known.endpoint("e", 30.0).online
    known.heartbeat("e", "", [], Version(), [], 30.0)
    assert known.endpoint("e", 31.0).online
    known.detach("e", "s1", 31.0)
    assert not known.endpoint("e", 31.0).online


def test_a_heartbeat_of_an_unknown_endpoint_is_told_so():
    with pytest.raises(NotFoundError):
        registry().heartbeat("e", "", [], Version(), [], 0.0)


def test_only_live_endpoints_count_against_the_limit():
    known = registry(max_agents=2)
    join(known, "a", session="a")
    join(known, "b", session="b")
    with pytest.raises(LimitError, match="Too many agents"):
        join(known, "c", session="c", now=1.0)
    join(known, "a", session="a2", now=1.0)
    known.detach("b", "b", 2.0)
    with pytest.raises(LimitError):
        join(known, "c", session="c", now=122.0)
    join(known, "c", session="c", now=122.1)
    with pytest.raises(LimitError):
        join(known, "b", session="b", now=122.2)


def test_a_refused_endpoint_leaves_no_trace():
    known = registry(max_agents=1)
    join(known, "a")
    with pytest.raises(LimitError):
        join(known, "b")
    assert known.is_new("b")
    assert len(known) == 1


def test_an_endpoint_with_a_control_session_is_never_forgotten():
    known = registry()
    join(known, "a", session="a")
    join(known, "b", session="b")
    known.detach("b", "b", 0.0)
    assert known.sweep(120.0) == []
    assert known.sweep(120.1) == ["b"]
    assert known.sweep(1e9) == []
    assert [found.id for found in known.endpoints(1e9)] == ["a"]


def test_lists_filter_by_id_or_name_and_user_and_keyword_in_order_of_appearance():
    known = registry()
    for endpoint_id, owner, name in [("1", BOB, "x"), ("2", ALICE, "y"), ("3", BOB, "y"), ("4", BOB, "lab")]:
        join(known, endpoint_id, owner, session=endpoint_id, name=name)
    known.heartbeat("2", "", [], Version(), ["label"], 0.0)

    def ids(**filters):
        return [found.id for found in known.endpoints(0.0, **filters)]

    assert ids() == ["1", "2", "3", "4"]
    assert ids(id="1", name="y") == ["1", "2", "3"]
    assert ids(id="1") == ["1"]
    assert ids(id="1", user="alice") == []
    assert ids(name="y", user="bob") == ["3"]
    assert ids(keyword="lab") == ["2", "4"]
    assert ids(limit=2, offset=1) == ["2", "3"]
    assert ids(limit=-1) == []
    assert ids(id="none") == []


def test_users_are_those_with_endpoints_and_show_the_first_five():
    known = registry()
    for at in range(7):
        join(known, str(at), BOB, session=str(at))
    join(known, "a", ALICE, session="a")
    bob, alice = known.users(0.0)
    assert (bob.name, bob.count, [found.id for found in bob.endpoints]) == ("bob", 7, ["0", "1", "2", "3", "4"])
    assert (alice.name, alice.count) == ("alice", 1)
    assert known.users(0.0, keyword="li") == [alice]
    assert known.users(0.0, name="bob") == [bob]
    assert known.users(0.0, limit=1, offset=1) == [alice]
    known.detach("a", "a", 0.0)
    known.sweep(121.0)
    assert [user.name for user in known.users(121.0)] == ["bob"]


def test_all_sessions_of_a_user_are_found_to_be_cut():
    known = registry()
    join(known, "1", session="s1")
    join(known, "1", session="p1", passive=True)
    join(known, "2", session="s2")
    join(known, "3", ALICE, session="s3")
    assert known.sessions_of_user("bob") == ["s1", "p1", "s2"]
    assert known.sessions_of_user("nobody") == []


def test_a_user_may_not_use_up_endpoint_ids_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ztm.core.registry.MAX_CLAIMS", 2)
    registry: Registry[str] = Registry("hub")
    for number in range(2):
        registry.attach(f"ep-{number}", "e", Owner("alice", "k"), f"s{number}", Address("10.0.0.1", 1), 0.0)
    with pytest.raises(LimitError):
        registry.may_claim("ep-2", Owner("alice", "k"))
    registry.may_claim("ep-1", Owner("alice", "k"))
    registry.may_claim("ep-2", Owner("bob", "k"))
