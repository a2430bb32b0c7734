"""A client of the local API made from its OpenAPI document alone, as a generator would make one.

Every operation becomes a method by its `operationId`; what the document does not name cannot be sent.
"""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


class RefusedError(Exception):
    """An answer of 400 or more, with the document's `Problem`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Operation:
    """One operation, by what the document says of it."""

    method: str
    path: str
    said: dict[str, Any]

    def parameters(self, place: str) -> list[str]:
        return [each["name"] for each in self.said.get("parameters", ()) if each["in"] == place]

    def target(self, given: dict[str, Any]) -> str:
        """The request target; a parameter that is not in the document is a mistake of the caller."""
        path, query = self.path, []
        for name in self.parameters("path"):
            safe = "/" if name == "rest" else ""
            path = path.replace("{" + name + "}", quote(str(given.pop(name)), safe=safe))
        for name in self.parameters("query"):
            value = given.pop(name, None)
            query += [(name, each) for each in (value if isinstance(value, list) else [value]) if each is not None]
        assert not given, f"{self.said['operationId']} has no {', '.join(given)}"
        return f"{path}?{urlencode(query, quote_via=quote)}" if query else path

    def body(self, given: Any) -> tuple[bytes, str]:
        """The request's body and its content type."""
        if given is None:
            assert "requestBody" not in self.said, "a body is missing"
            return b"", ""
        (content_type,) = self.said["requestBody"]["content"]
        if content_type == "application/json":
            return json.dumps(given).encode(), content_type
        return given.encode() if isinstance(given, str) else given, content_type


class Client:
    """``client.get_meshes_mesh_endpoints(mesh="m", limit=5)`` and so on."""

    def __init__(self, document: dict[str, Any], port: int, token: str) -> None:
        self._port = port
        self._token = token
        self.operations = {
            said["operationId"]: Operation(method.upper(), path, said)
            for path, methods in document["paths"].items()
            for method, said in methods.items()
            if not method.startswith("x-")
        }

    def __getattr__(self, name: str) -> Any:
        operation = self.operations[name]

        def call(body: Any = None, **given: Any) -> Any:
            return self._call(operation, body, given)

        return call

    def _call(self, operation: Operation, body: Any, given: dict[str, Any]) -> Any:
        data, content_type = operation.body(body)
        headers = {"authorization": f"Bearer {self._token}", **({"content-type": content_type} if data else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(operation.method, operation.target(given), data, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        assert str(answer.status) in operation.said["responses"], f"{answer.status} is not in the document"
        if answer.status >= 400:
            problem = json.loads(text)
            raise RefusedError(answer.status, problem["message"])
        is_json = (answer.headers.get("content-type") or "").startswith("application/json")
        return json.loads(text) if is_json else text.decode()
