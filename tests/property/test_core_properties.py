"""What holds in all histories of the pure rooms."""

from hypothesis import given
from hypothesis import strategies as st

from ztm.core.balance import Balancer
from ztm.core.files import FileTable
from ztm.core.hubs import JITTER, LAST_REFUSAL, LAST_RETRY, Dial, HubChooser, Wait
from ztm.core.limits import Bucket
from ztm.core.registry import Owner, Registry
from ztm.errors import ForbiddenError, LimitError
from ztm.model import Address, FileInfo, Version

HUBS = [Address("a", 1), Address("b", 2), Address("c", 3)]
LONGEST = LAST_RETRY * (1 + JITTER)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 3)), max_size=60))
def test_no_hub_is_dialled_early_and_none_is_forgotten(outcomes):
    chooser, now, last = HubChooser(HUBS), 0.0, dict.fromkeys(HUBS, 0.0)
    for answered, jitter, lasted in outcomes:
        match chooser.next(now):
            case Wait(until):
                assert now < until <= now + LONGEST
                now = until
            case Dial(hub):
                assert now - last[hub] <= len(HUBS) * (LONGEST + 3)
                if answered:
                    chooser.connected(hub, now)
                    now += lasted
                last[hub] = now
                chooser.failed(hub, now, jitter)


@given(st.lists(st.tuples(st.sampled_from(["failed", "refused"]), st.floats(0, 1)), min_size=1, max_size=40))
def test_a_hub_is_due_again_within_its_bound_however_it_went(outcomes):
    chooser = HubChooser(HUBS[:1])
    for kind, jitter in outcomes:
        getattr(chooser, kind)(HUBS[0], 7.0, jitter)
        longest = LONGEST if kind == "failed" else LAST_REFUSAL * (1 + JITTER)
        assert 7.0 < chooser.next(7.0).until <= 7.0 + longest


IDS = st.sampled_from(["e1", "e2", "e3", "e4"])
OWNERS = st.builds(Owner, st.sampled_from(["bob", "eve"]), st.sampled_from(["k1", "k2"]))
EVENTS = st.one_of(
    st.tuples(st.just("attach"), IDS, OWNERS, st.booleans()),
    st.tuples(st.just("detach"), IDS, st.integers(0, 30)),
    st.tuples(st.just("heartbeat"), IDS),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("pass"), st.floats(0, 100)),
)
LIMIT = 3


class History:
    """Plays events into a registry beside the plainest account of them."""

    def __init__(self):
        self.registry = Registry("hub", max_agents=LIMIT)
        self.now = 0.0
        self.owners = {}
        self.sessions = {}
        """The endpoint of each control session by its number."""
        self.heard = {}
        self.made = 0

    def attach(self, endpoint_id, owner, passive):
        self.made += 1
        remote = Address("x", 1)
        try:
            self.registry.attach(endpoint_id, "n", owner, self.made, remote, self.now, passive=passive)
        except ForbiddenError:
            assert self.owners[endpoint_id] != owner
            return
        except LimitError:
            assert len(self.live() - {endpoint_id}) >= LIMIT
            return
        assert self.owners.setdefault(endpoint_id, owner) == owner
        if not passive:
            self.sessions[self.made] = endpoint_id
        if not passive or endpoint_id not in self.heard:
            self.heard[endpoint_id] = self.now

    def live(self):
        recent = {endpoint_id for endpoint_id, at in self.heard.items() if self.now - at <= 120.0}
        return recent | set(self.sessions.values())

    def detach(self, endpoint_id, number):
        self.registry.detach(endpoint_id, number, self.now)
        if self.sessions.get(number) == endpoint_id:
            del self.sessions[number]
            self.heard[endpoint_id] = self.now

    def heartbeat(self, endpoint_id):
        if endpoint_id in self.heard:
            self.registry.heartbeat(endpoint_id, "n", [], Version(), [], self.now)
            self.heard[endpoint_id] = self.now

    def sweep(self):
        gone = set(self.registry.sweep(self.now))
        assert gone == self.heard.keys() - self.live()
        for endpoint_id in gone:
            del self.heard[endpoint_id]

    def check(self):
        assert len(self.live()) <= LIMIT
        listed = self.registry.endpoints(self.now)
        assert {endpoint.id for endpoint in listed} == self.heard.keys()
        assert sum(user.count for user in self.registry.users(self.now)) == len(listed)
        for endpoint in listed:
            controls = [number for number, of in self.sessions.items() if of == endpoint.id]
            assert self.registry.controls(endpoint.id) == controls
            assert self.registry.control(endpoint.id) == (controls[-1] if controls else None)
            assert endpoint.user == self.owners[endpoint.id].user
            assert not (endpoint.online and not controls)
            assert "hub" in endpoint.hubs or not controls


@given(st.lists(EVENTS, max_size=60))
def test_the_registry_agrees_with_the_plainest_account_of_its_history(events):
    history = History()
    for kind, *args in events:
        if kind == "pass":
            history.now += args[0]
        else:
            getattr(history, kind)(*args)
        history.check()


PATHS = [f"/{room}/{user}/{name}" for room in ("users", "shared") for user in ("bob", "eve") for name in "xy"]
OFFER = st.dictionaries(
    st.sampled_from(PATHS), st.builds(FileInfo, st.sampled_from(["h1", "h2"]), st.integers(-1, 3), st.integers(0, 5))
)


@given(
    st.lists(
        st.tuples(st.sampled_from(["bob", "eve"]), OFFER, st.integers(0, 3), st.booleans(), st.booleans()), max_size=25
    )
)
def test_no_change_is_missed_by_who_asks_from_the_newest_since(history):
    table, now, stored = FileTable(), 100, {}
    seen, since = {}, 0
    for user, offered, passed, polls, restarts in history:
        now += passed - 1
        stored |= table.advertise(f"of-{user}", user, offered, now, {})
        if restarts:
            table = FileTable(stored)
        if polls:
            changes = table.listing("eve", {}, since_ms=since)
            assert all(file.since_ms > since for file in changes.values())
            seen |= changes
            since = max([since, *(file.since_ms for file in changes.values())])
            alive = {path: file for path, file in seen.items() if not file.is_deleted}
            assert alive == table.listing("eve", {})
    assert all(not path.startswith("/users/bob") for path in seen)


@given(st.lists(st.tuples(st.sampled_from(["bob", "eve"]), OFFER), max_size=12))
def test_advertising_the_same_twice_changes_nothing(history):
    table = FileTable()
    for user, offered in history:
        table.advertise(user, user, offered, 1, {})
        before = table.listing("bob", {}, since_ms=0)
        assert table.advertise(user, user, offered, 2, {}) == {}
        assert table.listing("bob", {}, since_ms=0) == before


MEMBERS = st.sets(st.integers(0, 5), max_size=6)
USES = st.one_of(
    st.tuples(st.just("replace"), MEMBERS),
    st.tuples(st.sampled_from(["opened", "closed", "succeeded"]), st.integers(0, 5)),
    st.tuples(st.just("failed"), st.integers(0, 5), st.floats(0, 100)),
)


@given(MEMBERS, st.lists(USES, max_size=40), st.floats(0, 120))
def test_a_balancer_never_loses_or_invents_a_member(members, uses, now):
    balancer = Balancer(members)
    for kind, *args in uses:
        getattr(balancer, kind)(*args)
        members = args[0] if kind == "replace" else members
        order = balancer.order(now)
        assert sorted(order) == sorted(members)


@given(st.integers(1, 6), st.integers(1, 60))
def test_streams_are_spread_evenly_over_equals(members, streams):
    balancer = Balancer(range(members))
    used = dict.fromkeys(range(members), 0)
    for _ in range(streams):
        first = balancer.order(0.0)[0]
        balancer.opened(first)
        used[first] += 1
    assert max(used.values()) - min(used.values()) <= 1


@given(st.floats(0.1, 100), st.integers(1, 20), st.lists(st.floats(0, 2), max_size=60))
def test_a_bucket_never_lets_more_pass_than_its_burst_and_rate(rate, burst, waits):
    bucket, now, passed = Bucket(rate, burst), 0.0, 0
    for wait in waits:
        now += wait
        passed += bucket.take(now)
        assert passed <= burst + rate * now + 1e-6
