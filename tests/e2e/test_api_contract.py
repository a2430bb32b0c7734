"""The local API's description is a contract: whatever is asked, the answer is one that the document names.

Requests are made up by schemathesis from the document, good and bad ones, and sent to a real agent in a real mesh.
They are the same in each run.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from raw_http import send
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from world import Agent

CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 12
"""Requests made up for each operation and each mode."""
PATIENCE = 30.0
ENDLESS = ("/api/events",)
"""Answers that do not end by themselves: they have tests of their own."""
SPARE = "spare"
"""The mesh that may be lost."""
PERILOUS = {
    ("POST", "/api/meshes/{mesh}"),
    ("DELETE", "/api/meshes/{mesh}"),
    ("POST", "/api/meshes/{mesh}/ca"),
    ("POST", "/api/meshes/{mesh}/agent/certificate"),
    ("POST", "/api/meshes/{mesh}/agent/key"),
}
"""What could end the mesh that the others need."""


@dataclass(frozen=True)
class Api:
    """The agent that is asked, its document, and values that mean something to it."""

    agent: Agent
    document: dict[str, Any]
    known: dict[str, list[str]]


@pytest.fixture(scope="module")
def api(mesh: Any) -> Api:
    """The agent of root, in a mesh with tunnels, labels and a file."""
    home: Agent = mesh.home
    home_id = home.id
    home.ok("join", SPARE, "--as", "spare", "--permit", mesh.hub.permit)
    home.ok("mesh", "my-mesh", "tunnel", "open", "outbound", "tcp/web", "--targets", "127.0.0.1:9")
    home.ok("mesh", "my-mesh", "invite", "dave", "-i", "-", stdin=home.ok("identity").out)
    spare = next(one["id"] for one in home.api("/api/meshes/my-mesh/permits") if one["username"] == "dave")
    document = home.api("/api/openapi.json")
    known = {
        "mesh": ["my-mesh", "my-mesh", "nope"],
        "ep": [home_id, mesh.workplace.id, mesh.alice.id, "6f4b4c1c-0f4e-4b54-9d2a-2b8f7f6f0a11"],
        "hub": [*home.api("/api/meshes/my-mesh/hubs"), "nope"],
        "user": ["nobody", "carol"],
        "permit": ["nobody", "carol", spare],
        "provider": ["ztm", "root"],
        "app": ["tunnel", "hello"],
        "proto": ["tcp", "udp"],
        "name": ["web", "none"],
        "rest": ["shared/root/doc.txt", "users/alice/x", "none"],
    }
    return Api(home, document, known)


def operations(api: Api) -> Iterator[Any]:
    """All that the document describes, and that ends."""
    schema = schemathesis.openapi.from_dict(api.document)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path not in ENDLESS:
            yield operation


def requests(api: Api, operation: Any, mode: GenerationMode) -> st.SearchStrategy[Any]:
    """Requests of one operation, most of them about things that exist."""
    holes = [param.name for param in operation.path_parameters]

    def about(case: Any, chosen: dict[str, str]) -> Any:
        given_ = dict(case.path_parameters or {})
        case.path_parameters = {name: chosen.get(name) or given_[name] for name in given_}
        if (operation.method.upper(), operation.path) in PERILOUS and case.path_parameters["mesh"] == "my-mesh":
            case.path_parameters["mesh"] = SPARE
        if isinstance(case.query, dict):
            case.query.pop("wait", None)
        return case

    values = {name: st.sampled_from([*api.known.get(name, []), *api.known.get(name, []), ""]) for name in holes}
    return st.builds(about, operation.as_strategy(generation_mode=mode), st.fixed_dictionaries(values))


@pytest.mark.long
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
def test_every_answer_is_one_that_the_document_names(api: Api, mode: GenerationMode) -> None:
    asked, done = 0, 0
    for operation in operations(api):
        answered: list[int] = []
        each(requests(api, operation, mode), lambda case, seen=answered: seen.append(check(api, case)))
        assert answered or mode is GenerationMode.NEGATIVE, operation.label
        asked += len(answered)
        done += any(status < 300 for status in answered)
    assert asked > 300
    assert done > 30
    assert api.agent.api("/api/healthz")["meshes"]["my-mesh"] == "connected"
    assert "Traceback" not in api.agent.log


def test_what_any_request_may_meet_before_its_route_is_named_with_every_route(api: Api) -> None:
    line = f"POST /api/login HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {api.agent.token}\r\n".encode()
    met = {
        send(api.agent, line, field + b"\r\n\r\n").status
        for field in (b"x-large: " + b"y" * 80_000, b"transfer-encoding: gzip", b"content-length: ten", b"expect: tea")
    }
    assert met >= {400, 431, 501}
    met |= {408, 503}  # a body that does not come, and too many connections: test_api_loads.py
    for path, methods in api.document["paths"].items():
        for method, operation in methods.items():
            assert {str(status) for status in met} <= set(operation["responses"]), (method, path)


def each(cases: st.SearchStrategy[Any], ask: Callable[[Any], object]) -> None:
    """Run `ask` for some cases, the same ones each time."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def run(case: Any) -> None:
        ask(case)

    with contextlib.suppress(Unsatisfiable):  # an operation that takes nothing cannot be asked wrongly
        run()


def check(api: Api, case: Any) -> int:
    """Send one request; the status of its answer, which must be as described."""
    response = case.call(
        base_url=f"http://127.0.0.1:{api.agent.port}",
        headers={"authorization": f"Bearer {api.agent.token}"},
        cookies={},
        timeout=PATIENCE,
    )
    assert response.status_code != 500, (case.as_curl_command(), response.content)
    case.validate_response(response, checks=CHECKS)
    return int(response.status_code)
