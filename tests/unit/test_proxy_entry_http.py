"""Plain HTTP requests through the proxy's port: what the origin sees, what the client gets, what harms nobody."""

import asyncio

import pytest
from app_mesh import read_all
from proxy_door import EXIT, WebOrigin, doorway, plain, read_answer

from ztm.apps.proxy.credentials import Credentials
from ztm.apps.proxy.entry.limits import DoorLimits
from ztm.errors import BrokenStreamError, ForbiddenError, RefusedError
from ztm.net.base import Stream


def get(url: str, *fields: str, method: str = "GET", host: str = "ignored.test", body: str = "") -> bytes:
    lines = (f"{method} {url} HTTP/1.1", f"Host: {host}", *fields, "", body)
    return "\r\n".join(lines).encode()


async def test_the_origin_sees_an_origin_form_its_own_host_and_nothing_of_the_proxy() -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        await read_answer(
            await here.client(
                get(
                    f"http://{origin}/path?q=1#part",
                    "Proxy-Connection: keep-alive",
                    "Proxy-Authorization: Basic c2VjcmV0OnNlY3JldA==",
                    "Connection: keep-alive, X-Hop, Content-Length, Host",
                    "X-Hop: for the proxy",
                    "Keep-Alive: 300",
                    "TE: trailers",
                    "Upgrade: h2c",
                    "X-Kept: yes",
                    "Cookie: a=b",
                )
            )
        )
        [seen] = web.seen
        assert seen.target == b"/path?q=1"
        assert dict(seen.headers) == {"host": str(origin), "x-kept": "yes", "cookie": "a=b"}


@pytest.mark.parametrize(
    ("method", "tail", "target"),
    [("GET", "", b"/"), ("GET", "?a", b"/?a"), ("OPTIONS", "", b"*"), ("GET", "/a//b/../%2f", b"/a//b/../%2f")],
)
async def test_the_path_goes_on_as_it_is(method: str, tail: str, target: bytes) -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        assert (await read_answer(await here.client(get(f"HTTP://{origin}{tail}", method=method))))[0] == 200
        assert web.seen[0].target == target


async def test_names_have_port_80_and_ipv6_its_brackets() -> None:
    async with doorway() as here:
        web = WebOrigin()
        here.way.names["web.test"] = await here.listen(web.serve)
        origin6 = await here.listen(web.serve, "::1")
        client = await here.client(get("http://web.test/"))
        assert (await read_answer(client))[2] == b"you asked for /"
        await client.write(get(f"http://{origin6}/six"))
        assert (await read_answer(client))[2] == b"you asked for /six"
        assert here.way.asked == [("web.test", 80), ("::1", origin6.port)]
        assert [dict(seen.headers)["host"] for seen in web.seen] == ["web.test", f"[::1]:{origin6.port}"]


async def test_requests_of_one_connection_share_a_stream_for_the_same_origin_only() -> None:
    async with doorway() as here:
        web, other = WebOrigin(), WebOrigin()
        first, second = await here.listen(web.serve), await here.listen(other.serve)
        client = await here.client()
        for origin in (first, first, second, first, second):
            await client.write(get(f"http://{origin}/"))
            assert (await read_answer(client))[0] == 200
        assert (web.connections, other.connections) == (1, 1)
        assert here.way.asked == [(first.host, first.port), (second.host, second.port)]
        await here.audited(5)
        assert [trail.target for trail in here.audit.trails] == [EXIT] * 5
        assert {(trail.action, trail.is_allowed) for trail in here.audit.trails} == {("request", True)}


async def test_connections_share_no_stream() -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        for _ in range(2):
            await read_answer(await here.client(get(f"http://{origin}/")))
        assert web.connections == 2


async def test_requests_sent_at_once_are_answered_in_order() -> None:
    async with doorway() as here:
        origin = await here.listen(WebOrigin().serve)
        client = await here.client(b"".join(get(f"http://{origin}/{n}") for n in range(5)))
        for n in range(5):
            assert (await read_answer(client))[2] == f"you asked for /{n}".encode()


async def test_after_a_change_no_kept_stream_serves_another_request() -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        client = await here.client(get(f"http://{origin}/"))
        await read_answer(client)
        await here.audited(1)
        here.door.renew()
        here.way.errors[origin.host] = ForbiddenError("not any more")
        await client.write(get(f"http://{origin}/"))
        assert (await read_answer(client))[0] == 403
        assert web.connections == 1


async def test_an_origin_that_left_in_between_is_asked_by_a_new_stream() -> None:
    async with doorway() as here:
        connections = 0

        async def serve(stream: Stream) -> None:
            nonlocal connections
            connections += 1
            await stream.read()
            await stream.write(plain(b"and goodbye"))  # without saying so

        origin = await here.listen(serve)
        client = await here.client()
        for _ in range(3):
            await client.write(get(f"http://{origin}/"))
            assert (await read_answer(client))[2] == b"and goodbye"
        assert connections == 3


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_one_to_the_next_request() -> None:
    async with doorway() as here:
        go_on = asyncio.Event()

        async def serve(stream: Stream) -> None:
            await stream.read()
            await stream.write(plain(b"asked for"))
            await go_on.wait()
            await stream.write(plain(b"forged"))
            await stream.ended()

        origin = await here.listen(serve)
        client = await here.client(get(f"http://{origin}/1"))
        await read_answer(client)
        await here.audited(1)
        go_on.set()
        kept = here.way.opened[0]
        kept.unread(await kept.read())  # it has arrived
        await client.write(get(f"http://{origin}/2"))
        assert (await read_answer(client))[2] == b"asked for"


async def test_an_origin_that_says_close_is_not_asked_again_on_that_stream() -> None:
    async with doorway() as here:
        web = WebOrigin(lambda _: plain(b"once", more="Connection: close\r\n"))
        origin = await here.listen(web.serve)
        client = await here.client()
        for _ in range(3):
            await client.write(get(f"http://{origin}/"))
            assert (await read_answer(client))[1] == {"content-length": "4"}
        assert web.connections == 3


@pytest.mark.parametrize("death", [None, b""])
async def test_a_kept_stream_that_dies_under_a_request_is_replaced_for_one_that_may_be_repeated(
    death: bytes | None,
) -> None:
    async with doorway() as here:
        web = WebOrigin(lambda seen: death if seen.target == b"/die" and seen.connection == 1 else plain(b"fine"))
        origin = await here.listen(web.serve)
        client = await here.client(get(f"http://{origin}/"))
        await read_answer(client)
        await client.write(get(f"http://{origin}/die"))
        assert (await read_answer(client))[2] == b"fine"
        assert web.connections == 2


@pytest.mark.parametrize(("method", "body"), [("POST", "hi"), ("POST", ""), ("DELETE", ""), ("GET", "hi")])
async def test_a_request_that_must_not_be_repeated_has_a_stream_of_its_own_and_is_sent_once(
    method: str, body: str
) -> None:
    async with doorway() as here:
        web = WebOrigin(lambda seen: None if seen.target == b"/once" else plain(b"fine"))
        origin = await here.listen(web.serve)
        client = await here.client(get(f"http://{origin}/"))
        await read_answer(client)
        await client.write(get(f"http://{origin}/once", f"Content-Length: {len(body)}", method=method, body=body))
        assert (await read_answer(client))[0] == 502
        assert [(seen.target, seen.connection) for seen in web.seen] == [(b"/", 1), (b"/once", 2)]


async def test_no_more_streams_are_kept_than_there_may_be() -> None:
    async with doorway(DoorLimits(origins=1, linger_seconds=0.1)) as here:
        client = await here.client()
        for _ in range(2):
            await client.write(get(f"http://{await here.listen(WebOrigin().serve)}/"))
            await read_answer(client)
        await here.way.opened[0].ended()
        assert not here.way.opened[1].is_over


async def test_a_refused_request_harms_no_later_one_of_its_connection() -> None:
    async with doorway() as here:
        here.way.errors |= {"denied.test": ForbiddenError("rule 2 denies it"), "dead.test": RefusedError("refused")}
        origin = await here.listen(WebOrigin().serve)
        client = await here.client()
        for url, status in (
            ("http://denied.test/", 403), (f"http://{origin}/", 200), ("http://dead.test/", 502),
            ("https://x.test/", 501), ("/", 400), ("http://a:b@x.test/", 400), ("http://2130706433/", 400),
            (f"http://{origin}/", 200),
        ):  # fmt: skip
            await client.write(get(url))
            assert (await read_answer(client))[0] == status, url


async def test_a_refusal_of_head_has_no_body() -> None:
    async with doorway() as here:
        here.way.errors["denied.test"] = ForbiddenError("denied")
        client = await here.client(get("http://denied.test/", method="HEAD") + get("http://denied.test/"))
        assert (await read_answer(client, head=True))[::2] == (403, b"")
        assert (await read_answer(client))[2] == b"ztm proxy: denied\n"


async def test_a_body_with_a_length_and_one_in_chunks_arrive_whole() -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        big = "x" * 300_000
        client = await here.client(get(f"http://{origin}/", f"Content-Length: {len(big)}", method="POST", body=big))
        assert (await read_answer(client))[0] == 200
        await client.write(get(f"http://{origin}/", "Transfer-Encoding: chunked", method="PUT", body="3\r\nabc\r\n"))
        await client.write(b"2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n" + get(f"http://{origin}/next"))
        assert (await read_answer(client))[0] == 200
        assert (await read_answer(client))[2] == b"you asked for /next"
        assert [bytes(seen.body) for seen in web.seen] == [big.encode(), b"abcde", b""]


async def test_fields_that_make_the_message_are_not_taken_away_by_naming_them_in_connection() -> None:
    async with doorway() as here:
        web = WebOrigin()
        origin = await here.listen(web.serve)
        fields = ("Connection: content-length, authorization", "Authorization: Basic eA==", "Content-Length: 3")
        client = await here.client(get(f"http://{origin}/", *fields, method="POST", body="abc"))
        assert (await read_answer(client))[0] == 200
        assert dict(web.seen[0].headers)["authorization"] == "Basic eA=="
        assert web.seen[0].body == b"abc"


async def test_what_expects_a_100_gets_it_from_the_origin() -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            assert b"expect: 100-continue" in (await stream.read()).lower()
            await stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await stream.read() == b"body"
            await stream.write(plain(b"done"))
            await stream.ended()

        origin = await here.listen(serve)
        client = await here.client(get(f"http://{origin}/", "Expect: 100-continue", "Content-Length: 4", method="POST"))
        assert await client.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.write(b"body")
        assert (await read_answer(client))[2] == b"done"


@pytest.mark.parametrize(("version", "begin"), [("1.0", b"HTTP/1.1 200 "), ("1.1", b"HTTP/1.1 103 ")])
async def test_interim_answers_go_to_clients_that_know_them(version: str, begin: bytes) -> None:
    async with doorway() as here:
        web = WebOrigin(lambda _: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain(b"last"))
        origin = await here.listen(web.serve)
        client = await here.client(f"GET http://{origin}/ HTTP/{version}\r\nHost: x\r\n\r\n".encode())
        client.end()
        answer = await read_all(client)
        assert answer.startswith(begin)
        assert answer.endswith(b"last")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef",
        b"HTTP/1.0 200 OK\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcdef",
    ],
)
async def test_an_answer_of_any_framing_comes_whole_and_well_framed(answer: bytes, version: str) -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            await stream.read()
            await stream.write(answer)

        origin = await here.listen(serve)
        client = await here.client(f"GET http://{origin}/ HTTP/{version}\r\n\r\n".encode())
        assert (await read_answer(client))[2] == b"abcdef"
        if version == "1.0":
            assert await read_all(client) == b""


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000]
)
async def test_an_origin_without_an_answer_is_a_502_and_the_connection_goes_on(answer: bytes) -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            await stream.read()
            await stream.write(answer)

        origin, good = await here.listen(serve), await here.listen(WebOrigin().serve)
        client = await here.client(get(f"http://{origin}/"))
        assert (await read_answer(client))[0] == 502
        await client.write(get(f"http://{good}/"))
        assert (await read_answer(client))[0] == 200


async def test_an_answer_cut_short_does_not_look_whole() -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            await stream.read()
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly some")

        client = await here.client(get(f"http://{await here.listen(serve)}/"))
        with pytest.raises(BrokenStreamError):
            await read_all(client)


async def test_an_answer_before_the_request_is_whole_arrives_and_the_connection_ends() -> None:
    async with doorway() as here:

        async def serve(stream: Stream) -> None:
            await stream.read()
            await stream.write(plain(b"too large", "413 Content Too Large"))
            await stream.ended()

        client = await here.client(
            get(f"http://{await here.listen(serve)}/", "Content-Length: 1000", method="POST", body="abc")
        )
        status, headers, _ = await read_answer(client)
        assert (status, headers["connection"]) == (413, "close")
        assert await read_all(client) == b""


async def test_a_websocket_is_carried_both_ways_from_the_101_on() -> None:
    async with doorway() as here:
        switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        web = WebOrigin(lambda _: switched + b"Sec-WebSocket-Accept: x\r\n\r\n")
        origin = await here.listen(web.serve)
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: y", "Sec-WebSocket-Version: 13")
        client = await here.client(get(f"http://{origin}/chat", *fields))
        head = b""
        while not head.endswith(b"raw:"):
            head += await client.read()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"sec-websocket-accept: x" in head.lower()
        await client.write(b"\x81\x02hi")
        assert await client.read() == b"\x81\x02hi"
        asked = dict(web.seen[0].headers)
        assert (asked["upgrade"], asked["connection"], asked["sec-websocket-key"]) == ("websocket", "Upgrade", "y")


async def test_a_websocket_that_is_refused_is_an_answer_like_any_other() -> None:
    async with doorway() as here:
        origin = await here.listen(WebOrigin().serve)
        client = await here.client(get(f"http://{origin}/", "Upgrade: websocket", "Connection: Upgrade"))
        assert (await read_answer(client))[0] == 200
        await client.write(get(f"http://{origin}/again"))
        assert (await read_answer(client))[2] == b"you asked for /again"


async def test_a_slow_reader_holds_the_origin_back() -> None:
    async with doorway() as here:
        sent = 0
        total = 64 << 20

        async def serve(stream: Stream) -> None:
            nonlocal sent
            await stream.read()
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            while sent < total:
                await stream.write(bytes(1 << 16))
                sent += 1 << 16

        client = await here.client(get(f"http://{await here.listen(serve)}/"))
        before = -1
        while before != sent or not sent:  # until it stands still
            before = sent
            await asyncio.sleep(0.1)
        assert sent < total / 2
        got = 0
        while got < total:
            got += len(await client.read())


async def test_a_client_that_leaves_while_the_origin_thinks_leaks_nothing() -> None:
    async with doorway(DoorLimits(half_closed_seconds=0.05, linger_seconds=0.1)) as here:
        left = []
        for leave in ("abort", "end"):
            asked, gone = asyncio.Event(), asyncio.Event()

            async def serve(stream: Stream, asked: asyncio.Event = asked, gone: asyncio.Event = gone) -> None:
                await stream.read()
                asked.set()
                try:
                    await stream.read()
                finally:
                    gone.set()

            client = await here.client(get(f"http://{await here.listen(serve)}/"))
            await asked.wait()
            getattr(client, leave)()
            await gone.wait()
            left.append(leave)
        await here.audited(2)
        assert here.audit.trails[1].reason == "the client left"


async def test_a_client_that_only_ended_its_side_still_gets_its_answer() -> None:
    async with doorway() as here:
        client = await here.client(get(f"http://{await here.listen(WebOrigin().serve)}/"))
        client.end()
        assert (await read_all(client)).endswith(b"you asked for /")


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://x.test/ HTTP/1.1\r\nBad Header: 1\r\n\r\n",
        b"GET  http://x.test/ HTTP/1.1\r\n\r\n",
        b"get http://x.test/ HTTP/1.1\r\n\r\n",
        b"GET http://x.test/\r\n\r\n",
        b"GET http://x.test/ HTTP/1.1\nHost: x\n\n",
        b"GET http://x.test/ HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST http://x.test/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST http://x.test/ HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST http://x.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
    ],
)
async def test_a_malformed_request_is_a_400_and_no_exit_is_asked(head: bytes) -> None:
    async with doorway() as here:
        assert (await read_answer(await here.client(head)))[0] == 400
        assert here.way.asked == []


async def test_a_body_that_turns_out_malformed_is_a_400_and_no_fault_of_the_exit() -> None:
    async with doorway() as here:
        here.way.gate = asyncio.Event()
        origin = await here.listen(WebOrigin().serve)
        client = await here.client(
            get(f"http://{origin}/", "Transfer-Encoding: chunked", method="POST", body="3\r\nabc\r\n")
        )
        await here.way.began.wait()
        await client.write(b"not a chunk\r\n")
        assert (await read_answer(client))[0] == 400
        assert here.way.blamed == []
        assert here.way.opened[0].is_over


async def test_a_head_that_is_too_large_is_a_431() -> None:
    async with doorway(DoorLimits(header_bytes=1000)) as here:
        assert (await read_answer(await here.client(get("http://x.test/", "X: " + "y" * 2000))))[0] == 431


async def test_an_unheard_of_transfer_encoding_is_a_501() -> None:
    async with doorway() as here:
        client = await here.client(get("http://x.test/", "Transfer-Encoding: gzip", method="POST"))
        assert (await read_answer(client))[0] == 501


async def test_each_plain_request_must_show_the_password() -> None:
    async with doorway(credentials=Credentials.create("me", "secret")) as here:
        web = WebOrigin()
        url = f"http://{await here.listen(web.serve)}/"
        client = await here.client()
        for fields, status in (((), 407), (("Proxy-Authorization: Basic bWU6c2VjcmV0",), 200), ((), 407)):
            await client.write(get(url, *fields))
            assert (await read_answer(client))[0] == status
        assert len(web.seen) == 1


async def test_the_books_count_what_was_carried() -> None:
    async with doorway() as here:
        web = WebOrigin(lambda _: plain(b"12345"))
        origin = await here.listen(web.serve)
        client = await here.client(get(f"http://{origin}/", "Content-Length: 3", method="PUT", body="abc"))
        await read_answer(client)
        await here.audited(1)
        shown = here.door.traffic.shown()
        asked = f"PUT / HTTP/1.1\r\nHost: {origin}\r\nContent-Length: 3\r\n\r\nabc"
        assert (shown.total, shown.sent, shown.received) == (1, len(asked), len(plain(b"12345")))
