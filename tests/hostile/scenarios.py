"""What a hostile client tries, each in a function: `scenarios.py NAME SERVER [ARGUMENT...]`.

Each prints what became of it as one object of JSON; what is to become of it is known to
tests/it/hostile.rs.
"""

import asyncio
import json
import struct
import sys
import time

from peer import DRAIN, LOGIN, UDP, connect, frame, target, tunnel_out

FIXED, ASKED, NO_TUNNEL = 0, 1, 0xFFFFFFFF


def address(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


async def silence(server):
    """A handshake, and then nothing."""
    return await (await connect(server)).over()


async def a_byte_a_second(server, password):
    """A login that is right, and slow."""
    peer = await connect(server)
    for byte in peer.login(password):
        peer.say(0, bytes([byte]))
        if await with_patience(peer, 1):
            break
    return await peer.over()


async def with_patience(peer, seconds):
    try:
        return await asyncio.wait_for(peer.over(), seconds)
    except asyncio.TimeoutError:
        return None


async def malformed(server, password):
    """First messages that are none, each from an address of its own."""
    ends = {}
    for n, name in enumerate(MALFORMED):
        peer = await connect(server, source=f"127.0.1.{n + 1}")
        good = peer.login(password)
        data, end = MALFORMED[name](good)
        peer.say(0, data, end)
        ends[name] = await peer.over()
    return ends


MALFORMED = {
    "length 0": lambda good: (struct.pack("!BI", LOGIN, 0), False),
    "length 2^32-1": lambda good: (struct.pack("!BI", LOGIN, 2**32 - 1), False),
    "length 65537": lambda good: (struct.pack("!BI", LOGIN, 65537) + bytes(65537), False),
    "truncated body": lambda good: (frame(LOGIN, good[5:-1]), False),
    "an end too early": lambda good: (good[:-1], True),
    "trailing byte": lambda good: (frame(LOGIN, good[5:] + b"\0"), False),
    "more tunnels than it has": lambda good: (good[:-2] + b"\xff\xff", False),
    "message of no type": lambda good: (frame(99, good[5:]), False),
    "message out of place": lambda good: (frame(DRAIN, b""), False),
    "credential of no kind": lambda good: (good[:21] + b"\xff" + good[22:], False),
    "a flow before the login": lambda good: (bytes(5) + b"GET / HTTP/1.1\r\n\r\n", False),
}


async def other_version(server):
    peer = await connect(server, alpn="rstun/0")
    return await peer.over()


async def beyond_limits(server, password):
    """What is allowed before the login, and what happens beyond, each from an address of its own."""
    ends = {}
    for n, name in enumerate(["second stream", "unidirectional stream", "many bytes", "datagram"]):
        peer = await connect(server, source=f"127.0.2.{n + 1}", max_datagram_frame_size=65536)
        limits = peer.forget_limits()
        if name == "second stream":
            peer.say(4, b"data")
        elif name == "unidirectional stream":
            peer.say(2, b"data")
        elif name == "datagram":
            peer.cast(b"data")
        else:
            peer.say(0, frame(LOGIN, bytes(65536)) + bytes(1 << 20))
        ends[name] = await peer.over()
    return {"limits": limits, "ends": ends}


async def churn(server, password, there, count):
    """Streams opened and reset as fast as it goes, with half a header or a whole one."""
    peer = await connect(server)
    await peer.log_in(password, [tunnel_out(address(there))])
    opened = 0
    while opened < int(count):
        for _ in range(50):
            stream = peer._quic.get_next_available_stream_id()
            header = struct.pack("!BI", FIXED, 0)
            peer._quic.send_stream_data(stream, header if opened % 2 else header[:2])
            peer.transmit()
            peer._quic.reset_stream(stream, 0x10)
            opened += 1
        peer.transmit()
        await peer.ping()
    return {"opened": opened, "echo": await echo(peer)}


async def echo(peer):
    """Whether a flow through the first tunnel brings back what it is sent."""
    stream = peer._quic.get_next_available_stream_id()
    peer.say(stream, struct.pack("!BI", FIXED, 0) + b"ping")
    return await peer.until(lambda: peer.received.get(stream) == b"ping")


async def slow_head(server, password, there):
    """Headers of flows of which a byte is missing for ever."""
    peer = await connect(server)
    await peer.log_in(password, [tunnel_out(address(there))])
    began = time.monotonic()
    whole = struct.pack("!BI", FIXED, 0)
    streams = []
    for header in [whole[:1], whole[:4], struct.pack("!BIH", ASKED, NO_TUNNEL, 300) + bytes(299)]:
        streams.append(peer._quic.get_next_available_stream_id())
        peer.say(streams[-1], header)
    await peer.until(lambda: len(peer.resets) == len(streams))
    return {"resets": list(peer.resets.values()), "after": time.monotonic() - began}


async def smallest_datagrams(server, password, there, over_udp):
    """A peer that says that it takes datagrams of one byte, and talks to a target that answers each."""
    peer = await connect(server, max_datagram_frame_size=1)
    tunnels = [tunnel_out(address(there)), tunnel_out(address(over_udp), UDP)]
    await peer.log_in(password, tunnels)
    # What the server takes is not what it may send.
    peer._quic._remote_max_datagram_frame_size = 1 << 16
    header = struct.pack("!BI", FIXED, 1)
    for n in range(100):
        peer.cast(introduction(n, header, b"a question of so many bytes"))
    return {"echo": await echo(peer), "datagrams": len(peer.datagrams)}


async def crowd(server, count):
    """So many handshakes at once from one source without a login; how many were asked for proof of their
    address, and how many came in."""
    peers = await asyncio.gather(
        *[asyncio.wait_for(connect(server, source="127.4.0.1"), 4) for _ in range(int(count))],
        return_exceptions=True,
    )
    inside = [peer for peer in peers if not isinstance(peer, Exception) and peer.end is None]
    proved = [peer for peer in inside if peer._quic._retry_count]
    print(json.dumps({"inside": len(inside), "proved": len(proved)}), flush=True)
    ends = await asyncio.gather(*[peer.over() for peer in inside])
    return {"ends": sorted({end["code"] for end in ends})}


async def replay(server, password):
    """A proof that was right, on a second connection."""
    first = await connect(server)
    proof = first.proof(password)
    first.say(0, first.login(password, proof=proof))
    await first.until(lambda: 0 in first.received)
    second = await connect(server)
    second.say(0, second.login(password, proof=proof))
    return {"first": first.received[0].hex(), "second": await second.over()}


async def wrong_passwords(server, source, count):
    """Logins that fail, some at a time; how each ended."""
    ends = {}

    async def attempt():
        peer = await connect(server, source=source)
        if peer.end is None:
            peer.say(0, peer.login("not the password"))
        end = await peer.over()
        name = f"{end['kind']} {end['code']}"
        ends[name] = ends.get(name, 0) + 1

    for _ in range(int(count) // 5):
        await asyncio.gather(*[attempt() for _ in range(5)])
    return ends


async def guesses_from_everywhere(server, count):
    """A wrong password from each of many addresses."""
    for n in range(int(count)):
        peer = await connect(server, source=f"127.3.{n // 250}.{n % 250 + 1}")
        peer.say(0, peer.login("not the password"))
        assert (await peer.over())["code"] == 1, peer.end
    return {"refused": int(count)}


async def unlisted_targets(server, password, there, *others):
    """Flows to what is not allowed, after one that is."""
    peer = await connect(server)
    await peer.log_in(password, [tunnel_out(address(there))])
    result = {"echo": await echo(peer)}
    asked = [target(address(other)) for other in others]
    headers = [struct.pack("!BIH", ASKED, NO_TUNNEL, len(to)) + to for to in asked]
    # A tunnel whose target is not the visitor's to choose, and one that there is not.
    headers += [struct.pack("!BIH", ASKED, 0, len(to)) + to for to in asked[:1]]
    headers += [struct.pack("!BI", FIXED, 1)]
    for header in headers:
        peer.say(peer._quic.get_next_available_stream_id(), header + b"hello")
    await peer.until(lambda: len(peer.resets) == len(headers))
    result["resets"] = list(peer.resets.values())
    return result | {"wanted": len(headers)}


# Kinds of datagrams.
PACKET, INTRODUCTION, UNKNOWN, REFUSED = 0, 3, 5, 6


def head(flow, kind, side):
    number = flow << 4 | kind << 1 | side
    return bytes([number]) if number < 64 else struct.pack("!H", 0x4000 | number)


def introduction(flow, header, packet):
    return head(flow, INTRODUCTION, 0) + header + bytes(4) + bytes([PACKET]) + packet


async def switched_datagrams(server, password, there, other):
    """Datagrams of a flow that come with another target, and of flows to what is not allowed."""
    peer = await connect(server, max_datagram_frame_size=65536)
    await peer.log_in(password, [tunnel_out(address(there), UDP)])
    fixed = struct.pack("!BI", FIXED, 0)
    to = target(address(other), UDP)
    asked, through = [struct.pack("!BIH", ASKED, n, len(to)) + to for n in (NO_TUNNEL, 0)]

    async def answer(question, flow, kind, end=b""):
        fits = lambda data: data.startswith(head(flow, kind, 1)) and data.endswith(end)
        peer.datagrams.clear()
        peer.cast(question)
        await peer.until(lambda: any(map(fits, peer.datagrams)))
        return next(filter(fits, peer.datagrams))[len(head(flow, kind, 1)) :].hex()

    return {
        "allowed": await answer(introduction(0, fixed, b"ping"), 0, PACKET, b"ping"),
        "switched": await answer(introduction(0, asked, b"pong"), 0, PACKET, b"pong"),
        "unlisted": await answer(introduction(1, asked, b"hello"), 1, REFUSED),
        "through": await answer(introduction(2, through, b"hello"), 2, REFUSED),
        "no tunnel": await answer(introduction(3, struct.pack("!BI", FIXED, 1), b""), 3, REFUSED),
        "not introduced": await answer(head(4, PACKET, 0) + b"hello", 4, UNKNOWN),
    }


async def early_data(server, password):
    """What the server lets a client do that comes back: nothing before the handshake."""
    peer = await connect(server)
    await peer.log_in(password)
    await peer.until(lambda: peer.tickets)
    return {"tickets": len(peer.tickets), "early": [t.max_early_data_size for t in peer.tickets]}


if __name__ == "__main__":
    name, server, *arguments = sys.argv[1:]
    print(json.dumps(asyncio.run(globals()[name](address(server), *arguments))))
