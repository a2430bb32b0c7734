"""Whom the access list of the port app lets reach what."""

import time

import pytest

from ztm.apps.port.model import parse_target
from ztm.apps.port.pattern import MAX_PATTERN, Pattern
from ztm.apps.port.rules import Rule, Rules
from ztm.errors import UsageError
from ztm.model import Address


def rules(*entries: Rule) -> Rules:
    return Rules(entries, "alice")


def entry(address: str, *users: str, port: int | None = None, owner_too: bool = False, protocol: str = "tcp") -> Rule:
    return Rule.parse(protocol, address, port, users, owner_too=owner_too)


def may(list_: Rules, host: str, ip: str = "", port: int = 80, caller: str = "bob") -> bool:
    return list_.judge(caller, "tcp", Address(host, port), ip or host).is_allowed


@pytest.mark.parametrize(
    ("address", "host", "ip", "is_meant"),
    [
        ("10.0.0.5", "10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.50", "10.0.0.50", False),
        ("10.0.0.0/24", "db.corp", "10.0.0.9", True),
        ("10.0.0.0/24", "10.0.0.9.evil.org", "192.0.2.1", False),
        ("10.0.0.1/24", "x", "10.0.0.9", True),
        ("10.0.0.0/24", "x", "::ffff:10.0.0.9", True),
        ("127.0.0.1", "0.0.0.0", "0.0.0.0", True),
        ("::1", "::", "::", True),
        ("fd00::/8", "x", "fd12::1", True),
        ("[::1]", "::1", "::1", True),
        ("db.corp", "db.corp", "192.0.2.1", True),
        ("DB.Corp.", "db.corp", "192.0.2.1", True),
        ("db.corp", "db-corp", "192.0.2.1", False),
        ("db.corp", "xdb.corp", "192.0.2.1", False),
        ("db.corp", "db.corp.evil.org", "192.0.2.1", False),
        ("*.corp", "a.b.corp", "192.0.2.1", True),
        ("*.corp", "corp", "192.0.2.1", False),
        ("*.corp", "evilcorp", "192.0.2.1", False),
        (r"db-\d+\.corp", "db-12.corp", "192.0.2.1", True),
        (r"db-\d+\.corp", "a-db-12.corp", "192.0.2.1", False),
        (r"10\.1\..*", "x", "10.1.2.3", True),
        (r"10\.1\..*", "10.1.evil.org", "192.0.2.1", False),
        ("10.1.2.*", "10x1y2.evil.org", "192.0.2.1", False),
        ("127.0.0.[0-9]+", "host-127x0y0z1.evil", "192.0.2.1", False),
        ("127.0.0.[0-9]+", "x", "127.0.0.77", True),
        (".*", "anything.at.all", "192.0.2.1", True),
    ],
)
def test_an_entry_means_what_it_says_and_no_more(address: str, host: str, ip: str, is_meant: bool) -> None:
    assert may(rules(entry(address, "bob")), host, ip) is is_meant


def test_an_entry_is_for_its_protocol_port_and_users_alone() -> None:
    list_ = rules(entry("10.0.0.1", "bob", port=80), entry("10.0.0.1", "carol", port=81))
    assert may(list_, "10.0.0.1")
    assert not may(list_, "10.0.0.1", port=81)
    assert may(list_, "10.0.0.1", port=81, caller="carol")
    assert not may(list_, "10.0.0.1", caller="dave")
    assert not may(list_, "10.0.0.1", caller="")
    assert not list_.judge("bob", "udp", Address("10.0.0.1", 80), "10.0.0.1").is_allowed


def test_the_owner_is_held_where_an_entry_says_so_and_nowhere_else() -> None:
    list_ = rules(
        entry("10.0.0.0/8", owner_too=True),
        entry("10.0.0.5", "alice", port=5432),
        entry("10.0.0.6", "*"),
    )
    assert may(list_, "192.0.2.1", caller="alice")
    assert not may(list_, "10.0.0.1", caller="alice")
    assert may(list_, "10.0.0.5", port=5432, caller="alice")
    assert not may(list_, "10.0.0.5", port=22, caller="alice")
    assert may(list_, "10.0.0.6", caller="alice")
    assert not may(list_, "internal.corp", "10.1.1.1", caller="alice")
    assert not may(list_, "10.0.0.5", caller="bob")


def test_a_verdict_names_its_rule() -> None:
    list_ = rules(entry("10.0.0.0/8", "bob"), entry("192.0.2.0/24", owner_too=True))
    judged = [
        list_.judge(who, "tcp", Address(ip, 1), ip).rule for who, ip in [("bob", "10.1.1.1"), ("alice", "192.0.2.1")]
    ]
    assert judged == ["acl tcp/10.0.0.0/8: user bob", "acl tcp/192.0.2.0/24 holds the owner to the list"]


@pytest.mark.parametrize(
    "pattern", ["", "(", ")", "(a", "a)", "[a", "a**", "*a", "a{2}", r"\1", r"\b", "(?=a)", "[z-a]", "a\\"]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        Pattern(pattern)


def test_no_pattern_takes_long_whatever_it_is_compared_with() -> None:
    worst = ["(a*)*" * 25 + "b", "((a|a)*(a|a)*)*" * 8 + "b", "(a|b|ab)*" * 14 + "c", ".*" * 60 + "b"]
    for pattern in worst:
        assert len(pattern) <= MAX_PATTERN
        began = time.process_time()
        assert not Pattern(pattern).matches("a" * 253)
        assert time.process_time() - began < 1.0  # v1's kind of matching needs longer than the universe has
    with pytest.raises(UsageError, match="128 are allowed"):
        Pattern("a" * (MAX_PATTERN + 1))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db:1", Address("db", 1)),
        ("DB.corp.:65535", Address("db.corp", 65535)),
        ("[::1]:80", Address("::1", 80)),
        ("::1:80", Address("::1", 80)),
        ("[0:0::1]:80", Address("::1", 80)),
    ],
)
def test_a_target_is_a_host_and_a_port_after_the_last_colon(text: str, address: Address) -> None:
    assert parse_target(text) == address


@pytest.mark.parametrize("text", ["", "80", ":80", "a:", "a:0", "a:65536", "a:b", "a b:1", "a/b:1", "::zz:1", "a:1:2"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_target(text)
