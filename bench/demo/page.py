"""The web page of the demonstration, as a process: `page.py PORT`, on 127.0.0.1 only.

``/`` is a page of text, ``/bulk/N`` is N bytes; every answer ends its connection. It is no web server for
anything else.
"""

import asyncio
import sys

PAGE = b"""<!doctype html>
<title>workplace</title>
<p>Hello from the web page at workplace.
"""
CHUNK = bytes(256 << 10)
MOST = 1 << 30
"""Bytes of one answer."""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request and end the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode("ascii", "replace")
        if path == "/":
            writer.write(_head("200 OK", len(PAGE)) + PAGE)
        elif path.startswith("/bulk/") and path[6:].isdigit():
            await _bulk(writer, min(int(path[6:]), MOST))
        else:
            writer.write(_head("404 Not Found", 0))
        await writer.drain()
    except (OSError, EOFError, IndexError, asyncio.LimitOverrunError):
        pass  # whoever asked is gone, or did not speak HTTP
    finally:
        writer.close()


def _head(status: str, size: int) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n".encode()
    )


async def _bulk(writer: asyncio.StreamWriter, size: int) -> None:
    writer.write(_head("200 OK", size))
    while size > 0:
        writer.write(CHUNK[:size])
        size -= len(CHUNK)
        await writer.drain()


async def main(port: int) -> None:
    """Serve until the process is stopped."""
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    print(f"Page started at 127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
