"""Every recorded URL is one of ours, and templates match as v1 does."""

import pytest

from recorded import all_names, load
from ztm.errors import UsageError
from ztm.wire import paths

EP = "56f6e5f7-a8b2-4363-b9d2-1623b24920d9"


@pytest.mark.parametrize(
    ("name", "template", "params", "query"),
    [
        ("hub-01", paths.HUB_STATUS, {}, None),
        ("hub-02", paths.ZONES, {}, None),
        ("hub-03", paths.ZONE_HUBS, {"zone": "default"}, None),
        ("hub-08", paths.SIGN, {"user": "bob"}, None),
        ("hub-12", paths.LOG, {}, None),
        ("hub-14", paths.ENDPOINT, {"ep": EP}, None),
        ("hub-17", paths.ENDPOINTS, {}, {"name": "bob ep", "limit": 10}),
        ("hub-20", paths.USERS, {}, {"keyword": "bo"}),
        ("hub-22", paths.FILES, {}, None),
        ("hub-26", paths.FILE, {"rest": "/shared/bob/a.txt"}, None),
        ("hub-29", paths.FILES, {}, {"since": 1795431884233, "wait": ""}),
        ("hub-30", paths.ENDPOINT_FILE, {"ep": EP, "hash": "h1"}, None),
        ("hub-32", paths.ACLS, {}, None),
        ("hub-33", paths.ACL, {"rest": "/apps/ztm/tunnel/shared/bob/t.json"}, {"username": "bob"}),
        ("hub-38", paths.FORWARD, {"ep": EP, "rest": "log"}, None),
        ("hub-40", paths.STATS, {}, None),
        ("hub-41", paths.ENDPOINT_STATS, {"ep": EP}, None),
        ("hub-42", paths.ENDPOINT_PING, {"ep": EP}, {"timeout": 30}),
        ("hub-45", paths.P2P_INFO, {}, None),
        ("hub-46", paths.P2P_REQUEST, {"ep": EP}, None),
        ("hub-52", paths.EVICTION, {"user": "bob"}, {"time": 1795431886}),
        ("hub-54", paths.EVICTIONS, {}, None),
        ("hub-60", paths.ENDPOINT_APP, {"ep": "nope", "provider": "ztm", "app": "tunnel"}, {"src": EP}),
        ("agent-01", paths.PING, {}, None),
        ("agent-03", paths.LABELS, {}, None),
        ("agent-05", paths.HUB, {"hub": "22222222-2222-2222-2222-222222222222"}, None),
        ("agent-07", paths.FILE_DATA, {"hash": "00"}, None),
        ("agent-08", paths.APPS, {}, None),
        ("agent-12", paths.APP_LOG, {"provider": "ztm", "app": "tunnel"}, None),
        ("agent-control-connect", paths.ENDPOINT, {"ep": "f5f4d17f-39cb-458f-8f47-4b2064553d32"}, {"name": "vec ep"}),
        ("agent-session-alloc", paths.SESSION, {"sid": "33333333-3333-3333-3333-333333333333"}, None),
    ],
)
def test_what_we_ask_for_is_what_v1_asks_for(name, template, params, query):
    recorded = load(name).path
    assert paths.fill(template, query, **params) == recorded
    path, found = paths.split(recorded)
    matched = paths.match(template, path)
    assert matched == {key: value.removeprefix("/") for key, value in params.items()}
    assert found == {key: str(value) for key, value in (query or {}).items()}


def test_every_recorded_url_but_the_unknown_one_is_ours():
    templates = [value for name, value in vars(paths).items() if name.isupper() and str(value).startswith("/")]
    for name in all_names("hub") + all_names("agent"):
        path, _ = paths.split(load(name).path)
        assert any(paths.match(template, path) is not None for template in templates) == (path != "/api/nope"), name


@pytest.mark.parametrize("path", ["/API/Status", "/api/status", "/api/status/"])
def test_case_of_literals_and_one_trailing_slash_do_not_matter(path):
    assert paths.match(paths.HUB_STATUS, path) == {}


@pytest.mark.parametrize(
    "path", ["", "/", "api/status", "/api//status", "//api/status", "/api/status//", "/api", "/api/status/x", "/api/x"]
)
def test_empty_segments_and_other_lengths_do_not_match(path):
    assert paths.match(paths.HUB_STATUS, path) is None


def test_parameters_are_given_raw_with_their_case():
    assert paths.match(paths.EVICTION, "/api/evictions/A%20b") == {"user": "A%20b"}
    assert paths.decode("A%20b+c") == "A b+c"


def test_the_rest_is_raw_and_never_empty():
    assert paths.match(paths.FORWARD, "/api/forward/e/apps//x%2F/") == {"ep": "e", "rest": "apps//x%2F/"}
    assert paths.match(paths.FORWARD, "/api/forward/e/") is None
    assert paths.match(paths.FORWARD, "/api/forward/e") is None


def test_what_is_filled_in_can_not_reach_beyond_its_segment():
    assert paths.fill(paths.SIGN, user="../x?time=1#") == "/api/sign/..%2Fx%3Ftime%3D1%23"
    assert paths.fill(paths.FILE, rest="/users/a b/c&d") == "/api/filesystem/users/a%20b/c%26d"
    assert paths.fill(paths.ENDPOINTS, {"keyword": "a&limit=1"}) == "/api/endpoints?keyword=a%26limit%3D1"


@pytest.mark.parametrize("params", [{}, {"user": ""}])
def test_a_path_is_never_made_from_an_empty_parameter(params):
    with pytest.raises(UsageError, match="user"):
        paths.fill(paths.SIGN, **params)


def test_queries_keep_plus_take_the_first_value_and_bare_keys():
    assert paths.split("/x?a=1+1&a=2&wait&b=%41%3D&=c&&") == ("/x", {"a": "1+1", "wait": "", "b": "A="})
    assert paths.split("/x") == ("/x", {})


def test_bytes_that_are_not_utf8_are_a_usage_error():
    with pytest.raises(UsageError):
        paths.split("/x?a=%ff")


def test_a_parameter_that_is_a_star_is_no_rest():
    assert paths.fill(paths.ENDPOINT_APP, ep="e", provider="p", app="*") == "/api/endpoints/e/apps/p/*"
