"""The codecs against v1's recorded JSON, both ways, and against what is not JSON of that shape."""

import json
from dataclasses import replace

import pytest

from recorded import load
from ztm.errors import UsageError
from ztm.model import Acl, Address, Endpoint, Eviction, FileInfo, HubInfo, Issued, Origin, PermitState, Version
from ztm.wire import codec
from ztm.wire.records import AppChange, CutOff, Heartbeat, Hop, LogEntry, PermitRow, PingAnswer, Traffic

V1 = Version("Community", "v1.0.4", "8eeb411c", "Wed, 4 Mar 2026")


def response(name):
    return load(name).response_body


def request(name):
    return load(name).request_body


def without_runtime_details(value):
    """Of the runtime below v1 we keep the tag only."""
    if isinstance(value, dict):
        return {
            key: {"tag": inner["tag"]} if key == "pipy" else without_runtime_details(inner)
            for key, inner in value.items()
        }
    return [without_runtime_details(inner) for inner in value] if isinstance(value, list) else value


def assert_same_json(ours, theirs):
    assert json.loads(ours) == without_runtime_details(json.loads(theirs))


@pytest.mark.parametrize("name", ["hub-14"])
def test_an_endpoint_reads_and_writes_as_v1_does(name):
    endpoint = codec.decode_endpoint(response(name))
    assert endpoint == Endpoint(
        id="56f6e5f7-a8b2-4363-b9d2-1623b24920d9",
        name="bob ep",
        user="bob",
        ip="127.0.0.1",
        port=37952,
        hubs=("efe3f1d5-ac5e-4953-81b5-2a6f61ec60ee",),
        version=Version("Py", "v0"),
        labels=("site:x",),
        heartbeat_ms=1795431879228,
        online=True,
        control_sessions=1,
    )
    assert_same_json(codec.encode_endpoint(endpoint), response(name))


@pytest.mark.parametrize("name", ["hub-16", "hub-17", "hub-18", "hub-19"])
def test_endpoint_lists_read_and_write_as_v1_does(name):
    assert_same_json(codec.encode_endpoints(codec.decode_endpoints(response(name))), response(name))


def test_only_a_list_of_one_endpoint_tells_the_whole_version():
    def told(endpoints):
        return [found.version for found in codec.decode_endpoints(codec.encode_endpoints(endpoints))]

    one = Endpoint("1", "a", "u", version=V1)
    assert told([one]) == [V1]
    assert told([one, one]) == [Version("Community", "v1.0.4")] * 2


def test_hub_status_reads_and_writes_as_v1_does():
    status = codec.decode_hub_status(response("hub-01"))
    assert status.ports == (Address("127.0.0.1", 20000),)
    assert (status.capacity.agents, status.load.agents, status.version) == (100, 5, V1)
    assert_same_json(codec.encode_hub_status(status), response("hub-01"))


def test_zones_and_their_hubs_read_and_write_as_v1_does():
    assert codec.encode_zones(codec.decode_zones(response("hub-02"))) == response("hub-02")
    hubs = codec.decode_zone_hubs(response("hub-03"))
    assert_same_json(codec.encode_zone_hubs(hubs.values()), response("hub-03"))


def test_a_hub_announcement_reads_and_writes_as_v1_does():
    hub = codec.decode_hub(request("agent-05"), "h")
    assert hub == HubInfo("h", (Address("10.0.0.9", 8888),), "default", Version("Py", "v0"))
    assert_same_json(codec.encode_hub(hub), request("agent-05"))


@pytest.mark.parametrize("name", ["agent-heartbeat", "hub-13"])
def test_heartbeats_read_and_write_as_v1_does(name):
    assert_same_json(codec.encode_heartbeat(codec.decode_heartbeat(request(name))), request(name))


def test_a_heartbeat_drops_labels_that_are_no_texts_and_unknown_fields():
    body = b'{"name":"a","x":{"y":[]},"agent":{"labels":["a",1,null,{}],"version":null}}'
    assert codec.decode_heartbeat(body) == Heartbeat("a", labels=("a",))
    assert codec.decode_heartbeat(b"{}") == Heartbeat("")


@pytest.mark.parametrize("name", ["hub-20", "hub-21"])
def test_users_read_and_write_as_v1_does(name):
    users = codec.decode_users(response(name))
    assert all(endpoint.user == user.name for user in users for endpoint in user.endpoints)
    assert_same_json(codec.encode_users(users), response(name))


def test_permits_read_as_they_were_written():
    issued = Issued(user="bob é", key="ab", not_before=1, not_after=9, time=2, origin=Origin.ROOT, ends=9, latest=0)
    rows = [
        PermitRow("0a", issued, PermitState.REVOKED, 5),
        PermitRow("0b", replace(issued, ends=None, origin=Origin.UNKNOWN), PermitState.VALID),
    ]
    assert codec.decode_permits(codec.encode_permits(rows)) == rows
    (first, _) = json.loads(codec.encode_permits(rows))
    assert (first["id"], first["issuedBy"], first["state"], first["revoked"]) == ("0a", "root", "revoked", 5)
    for name, wrong in (("state", "splendid"), ("issuedBy", "me"), ("id", "")):
        with pytest.raises(UsageError, match="malformed list of permits"):
            codec.decode_permits(json.dumps([first | {name: wrong}]).encode())


def test_who_was_cut_off_reads_as_it_was_written():
    cut = [CutOff("e1", "laptop"), CutOff("e2", "")]
    assert codec.decode_cut_off(codec.encode_cut_off(cut)) == cut


def test_evictions_read_and_write_as_v1_does_and_never_show_keys():
    evictions = codec.decode_evictions(response("hub-54"))
    assert evictions == [Eviction("bob", 1795431886, 1826967886)]
    assert codec.decode_eviction(response("hub-55")) == evictions[0]
    with_keys = Eviction("bob", 1795431886, 1826967886, ("k1",))
    assert_same_json(codec.encode_evictions([with_keys]), response("hub-54"))
    assert_same_json(codec.encode_eviction(with_keys), response("hub-55"))


@pytest.mark.parametrize(
    ("body", "since"),
    [
        (request("hub-22"), False),
        (request("agent-filesystem"), False),
        (response("hub-23"), False),
        (response("hub-24"), False),
        (response("hub-25"), True),
        (response("hub-29"), True),
        (response("hub-36"), False),
    ],
)
def test_file_maps_read_and_write_as_v1_does(body, since):
    assert_same_json(codec.encode_files(codec.decode_files(body), since=since), body)


def test_a_file_entry_reads_and_writes_as_v1_does():
    file = codec.decode_file(response("hub-26"))
    assert file == FileInfo("h1", 5, 1795431879233, 1795431879233, ("56f6e5f7-a8b2-4363-b9d2-1623b24920d9",))
    assert_same_json(codec.encode_file(file), response("hub-26"))


def test_acls_read_and_write_as_v1_does():
    path = "/apps/ztm/tunnel/shared/bob/t.json"
    acls = codec.decode_acls(request("hub-32"))
    assert acls == {path: Acl(path, "block", {"root": "readonly"}, 1795431879233)}
    assert_same_json(codec.encode_acls(acls.values()), request("hub-32"))
    assert codec.decode_acl(response("hub-33")) == acls[path]
    assert_same_json(codec.encode_acl(acls[path]), response("hub-33"))
    assert codec.decode_acl(codec.encode_acl(None)) is None


def test_acls_may_say_null_for_nothing():
    assert codec.decode_acls(b'{"/p":{"all":null,"users":null,"since":1}}') == {"/p": Acl("/p", "", {}, 1)}
    assert codec.decode_acls(b'{"/p":{"users":{"a":null,"b":"block"}}}') == {"/p": Acl("/p", "", {"b": "block"})}


def test_a_ping_answer_reads_and_writes_as_v1_does():
    answer = codec.decode_ping_answer(response("agent-01"))
    assert answer == PingAnswer("f5f4d17f-39cb-458f-8f47-4b2064553d32", "vec ep", 1795433093515)
    assert_same_json(codec.encode_ping_answer(answer), response("agent-01"))


@pytest.mark.parametrize("name", ["hub-42", "hub-43"])
def test_ping_hops_read_and_write_as_v1_does(name):
    hops = codec.decode_hops(response(name))
    assert hops[0].kind == "hub"
    assert_same_json(codec.encode_hops(hops), response(name))


def test_a_hop_that_was_never_reached_has_nulls():
    hop = Hop("endpoint", "e", "n", start_ms=1, error="No hub found")
    assert json.loads(codec.encode_hops([hop]))[0]["end"] is None
    assert codec.decode_hops(codec.encode_hops([hop])) == [hop]
    with pytest.raises(UsageError, match="neither"):
        codec.decode_hops(b'[{"start":1}]')


def test_logs_read_and_write_as_v1_does():
    assert_same_json(codec.encode_log(codec.decode_log(response("agent-02"))), response("agent-02"))
    assert json.loads(codec.encode_log([LogEntry("t", "m", "")])) == [{"time": "t", "message": "m"}]


def test_traffic_reads_and_writes_as_v1_does():
    assert_same_json(codec.encode_stats(codec.decode_stats(response("hub-40"))), response("hub-40"))
    assert_same_json(codec.encode_traffic(codec.decode_traffic(response("hub-41"))), response("hub-41"))
    traffic = Traffic(1.5, 2, {"e": Traffic(0.5, 1)})
    assert codec.decode_traffic(codec.encode_traffic(traffic)) == traffic


def test_labels_read_and_write_as_v1_does_each_once():
    assert codec.decode_labels(request("agent-04")) == ("site:x", "gpu")
    assert codec.encode_labels(("site:x", "gpu")) == request("agent-04")
    assert codec.decode_labels(b'["a","b","a"]') == ("a", "b")


def test_apps_read_and_write_as_v1_does():
    assert_same_json(codec.encode_apps(codec.decode_apps(response("agent-08"))), response("agent-08"))
    assert_same_json(codec.encode_app(codec.decode_app(response("agent-09"))), response("agent-09"))
    assert codec.decode_app_change(request("agent-13")) == AppChange(is_running=False)
    assert codec.encode_app_change(AppChange(is_running=True)) == request("agent-11")
    assert codec.decode_app_change(b"{}") == AppChange()


def test_absent_values_may_be_missing_or_null():
    bare = Endpoint("1", "", "")
    assert codec.decode_endpoint(b'{"id":"1"}') == bare
    nulls = dict.fromkeys(json.loads(codec.encode_endpoint(bare))) | {"id": "1"}
    assert codec.decode_endpoint(json.dumps(nulls).encode()) == bare


def test_times_with_a_fraction_are_taken():
    assert codec.decode_endpoint(b'{"id":"1","heartbeat":1795431879228.5,"ping":0.7}').heartbeat_ms == 1795431879228


DECODERS = [
    codec.decode_acl,
    codec.decode_acls,
    codec.decode_app,
    codec.decode_app_change,
    codec.decode_apps,
    codec.decode_endpoint,
    codec.decode_endpoints,
    codec.decode_cut_off,
    codec.decode_eviction,
    codec.decode_evictions,
    codec.decode_permits,
    codec.decode_file,
    codec.decode_files,
    codec.decode_heartbeat,
    codec.decode_hops,
    codec.decode_hub_status,
    codec.decode_labels,
    codec.decode_log,
    codec.decode_ping_answer,
    codec.decode_stats,
    codec.decode_traffic,
    codec.decode_users,
    codec.decode_zone_hubs,
    codec.decode_zones,
]


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "body", [b"", b"{bad", b"7", b'"x"', b"\xff\xfe", b'[{"id":', b'{"x":' + b"[" * 100_000, b"[" * 100_000, b"[[]]"]
)
def test_what_is_not_that_json_is_a_usage_error(decode, body):
    with pytest.raises(UsageError, match="malformed"):
        decode(body)


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (codec.decode_endpoint, b'{"id":7}'),
        (codec.decode_endpoint, b'{"id":"1","port":70000}'),
        (codec.decode_endpoint, b'{"id":"1","online":"yes"}'),
        (codec.decode_files, b'{"/a":{"#":"h","$":-2,"T":1}}'),
        (codec.decode_files, b'{"/a":{"#":"h","$":1,"T":1e300}}'),
        (codec.decode_files, b'{"/a":{"$":1,"T":1}}'),
        (codec.decode_heartbeat, b'{"name":"a","hubs":[1]}'),
        (codec.decode_zone_hubs, b'{"h":{"ports":["nowhere"]}}'),
        (codec.decode_labels, b'["a",1]'),
        (codec.decode_acls, b'{"/p":{"users":["a"]}}'),
    ],
)
def test_wrong_types_and_numbers_out_of_bounds_are_refused(decode, body):
    with pytest.raises(UsageError):
        decode(body)
