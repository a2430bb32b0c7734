"""Records of the tunnel app: what goes in comes out, and nothing malformed does."""

import contextlib
import json
import logging

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.apps.tunnel.forms import read_config, stored
from ztm.apps.tunnel.model import Inbound, Key, Outbound
from ztm.apps.tunnel.offers import Offer, exits_of, index_outbounds, read_offer, share_path
from ztm.errors import StorageError, UsageError
from ztm.model import Address, Peer

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})

ids = st.uuids().map(str)
users = st.sampled_from(["alice", "bob", "carol", "dave"])
names = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Z"], exclude_characters="/\\."), min_size=1, max_size=20
)
keys = st.builds(Key, st.sampled_from(["tcp", "udp"]), names)
ports = st.integers(1, 65535)
ips = st.ip_addresses().map(str)
hosts = ips | st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
inbounds = st.builds(
    Inbound.parse,
    keys,
    st.lists(st.builds(Address, ips, ports), min_size=1, max_size=4),
    st.lists(ids, max_size=3),
    st.lists(users | st.just("*"), max_size=3),
)
outbounds = st.builds(
    Outbound.parse,
    keys,
    st.lists(st.builds(Address, hosts, ports), min_size=1, max_size=4),
    st.lists(ids, max_size=3),
    st.none() | st.lists(users | st.just("*"), max_size=3),
    users,
)


@given(st.lists(inbounds, max_size=3), st.lists(outbounds, max_size=3))
def test_what_is_stored_is_read_back(entrances: list[Inbound], exits: list[Outbound]) -> None:
    config = stored(entrances, exits)
    assert read_config(msgspec.json.encode(config), LOG) == (entrances, exits)


@given(st.binary(max_size=200))
def test_a_damaged_configuration_is_a_storage_error(data: bytes) -> None:
    with contextlib.suppress(StorageError):
        read_config(data, LOG)


@given(users, keys, ids, st.sampled_from(["inbound", "outbound"]))
def test_what_is_shared_is_found_by_its_path(user: str, key: Key, endpoint: str, end: str) -> None:
    path = f"/shared/{user}/{share_path(key, endpoint, end)}"  # type: ignore[arg-type]
    assert read_offer(path) == Offer(user, key, endpoint, end)  # type: ignore[arg-type]


@given(st.text(max_size=60) | st.lists(st.text(max_size=8), max_size=8).map("/".join))
def test_any_path_is_read_without_an_error(path: str) -> None:
    read_offer(path)


@given(inbounds, users, st.lists(st.tuples(users, ids)))
def test_only_exits_named_or_offered_by_trusted_users_are_taken(
    inbound: Inbound, owner: str, offered: list[tuple[str, str]]
) -> None:
    paths = [f"/shared/{user}/{share_path(inbound.key, id_, 'outbound')}" for user, id_ in offered]
    taken = exits_of(inbound, index_outbounds(paths), owner)
    trusted = {id_ for user, id_ in offered if user == owner or user in inbound.from_users or "*" in inbound.from_users}
    assert set(taken) == (set(inbound.exits) or trusted)
    assert len(taken) == len(set(taken))


@given(outbounds, users, users, ids)
def test_an_outbound_admits_whom_both_rules_allow(outbound: Outbound, owner: str, user: str, endpoint: str) -> None:
    by_user = not outbound.users or user == owner or user in outbound.users
    by_place = not outbound.entrances or endpoint in outbound.entrances
    assert outbound.admits(Peer(user, endpoint), owner) == (by_user and by_place)


@pytest.mark.parametrize("host", ["[::1]", "::1", "127.0.0.1", "example.com"])
def test_a_target_may_be_ipv6_with_or_without_brackets(host: str) -> None:
    outbound = Outbound.parse(Key("tcp", "x"), [Address(host, 80)], (), None, "alice")
    assert outbound.targets == (Address(host.strip("[]"), 80),)


@pytest.mark.parametrize("host", ["localhost", "", "1.2.3", "[::1", "::1%"])
def test_a_listen_must_be_an_ip(host: str) -> None:
    with pytest.raises(UsageError, match="IP address"):
        Inbound.parse(Key("tcp", "x"), [Address(host, 80)])


def test_v1s_configuration_is_understood() -> None:
    text = {
        "inbound": [
            {"protocol": "tcp", "name": "x", "listens": [{"ip": "0.0.0.0", "port": 1, "open": True}], "exits": []}
        ],
        "outbound": [],
    }
    found, _ = read_config(json.dumps(text).encode(), LOG)
    assert found == [Inbound(Key("tcp", "x"), (Address("0.0.0.0", 1),))]
