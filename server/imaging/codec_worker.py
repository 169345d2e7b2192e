"""The process that decodes: reads jobs from its standard input, writes answers to its standard output.

It holds no keys and no addresses, its memory has a bound, and whoever started it ends it when it takes too long:
a codec that crashes or loops takes nothing else with it. It ends with its parent, when its input does.

A message is two lengths (4 and 8 bytes, big endian), a JSON header and bytes.
"""

from __future__ import annotations

import resource
import struct
import sys
from typing import Any, BinaryIO

import orjson

HEAD = struct.Struct(">LQ")
MAX_MEMORY = 3 * 2**30


def read_message(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next message; None at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    header_size, size = HEAD.unpack(head)
    header = stream.read(header_size)
    content = stream.read(size)
    if len(header) < header_size or len(content) < size:
        return None
    return orjson.loads(header), content


def write_message(stream: BinaryIO, header: dict[str, Any], content: bytes) -> None:
    """Send a message."""
    encoded = orjson.dumps(header)
    stream.write(HEAD.pack(len(encoded), len(content)) + encoded)
    stream.write(content)
    stream.flush()


def answer(header: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """Do one job."""
    from .codec import Undecodable, decode, packed
    from .codec_encode import encode
    from .description import Description
    from .picture import Look, layer, picture
    from .presentation import State

    description = Description.from_json(header["description"])
    try:
        array, now = decode(content, description)
        if header["job"] == "picture":
            return {"ok": True}, picture(array, now, Look.from_json(header["look"]))
        if header["job"] == "layer":
            pixels = layer(array, now, State.from_json(header["state"]))
            return {"ok": True, "rows": pixels.shape[0], "columns": pixels.shape[1]}, pixels.tobytes()
        if header["job"] == "encode":
            content, now = encode(array, now, header["target"])
            return {"ok": True, "description": now.to_json()}, content
        return {"ok": True, "description": now.to_json()}, packed(array, now)
    except (
        Undecodable,
        ValueError,
        MemoryError,
        ArithmeticError,
        LookupError,
        TypeError,
        OSError,
        RuntimeError,
    ) as error:
        return {"ok": False, "error": type(error).__name__}, b""


def main() -> None:
    """Serve until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What a library prints must not be taken for an answer.
    out = open(1, "wb", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stdout = sys.stderr
    source = sys.stdin.buffer
    while (message := read_message(source)) is not None:
        header, content = answer(*message)
        write_message(out, header, content)


if __name__ == "__main__":
    main()
