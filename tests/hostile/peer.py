"""A QUIC peer that does as it likes: aioquic, with our login on top and its good manners taken off.

PROTOCOL.md says what the bytes mean.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import ssl
import struct
import time

from aioquic import tls
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

ALPN = "rstun/1"

# Far above any deadline of the server's.
PATIENCE = 30

LOGIN, DRAIN = 1, 3


def keep_exporter_secret():
    """aioquic offers no exporter; its secret is derived together with that of the client's data."""
    derive = tls.KeySchedule.derive_secret

    def derive_secret(self, label):
        if label == b"c ap traffic":
            self.exporter = derive(self, b"exp master")
        return derive(self, label)

    tls.KeySchedule.derive_secret = derive_secret


keep_exporter_secret()


def export(schedule, label, length=32):
    """RFC 8446, section 7.5, with an empty context."""
    algorithm = schedule.algorithm
    empty = hashlib.new(algorithm.name.replace("-", ""), b"").digest()
    expand = lambda secret, label, n: tls.hkdf_expand_label(algorithm, secret, label, empty, n)
    return expand(expand(schedule.exporter, label, len(empty)), b"exporter", length)


def frame(kind, body):
    return struct.pack("!BI", kind, len(body)) + body


TCP, UDP = 0, 1


def target(addr, scheme=TCP):
    """A target in Login and in a flow's header."""
    host, port = addr
    packed = ipaddress.ip_address(host).packed
    return bytes([scheme, 4 if len(packed) == 4 else 6]) + packed + struct.pack("!H", port)


def tunnel_out(addr, scheme=TCP):
    return b"\0" + target(addr, scheme) + struct.pack("!H", 0)


class Peer(QuicConnectionProtocol):
    """A connection to the server, and all that has come on it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.began = time.monotonic()
        self.received = {}
        self.resets = {}
        self.datagrams = []
        self.end = None
        self.news = asyncio.Event()

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        # aioquic tells of the end only when it has drained.
        if self.end is None and self._quic._close_event:
            self.quic_event_received(self._quic._close_event)

    def quic_event_received(self, event):
        if isinstance(event, events.StreamDataReceived):
            self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
        elif isinstance(event, events.StreamReset):
            self.resets[event.stream_id] = event.error_code
        elif isinstance(event, events.DatagramFrameReceived):
            self.datagrams.append(event.data)
        elif isinstance(event, events.ConnectionTerminated) and self.end is None:
            ours = event.frame_type is None
            self.end = {
                "code": event.error_code,
                "kind": "application" if ours else "transport",
                "reason": event.reason_phrase,
                "after": time.monotonic() - self.began,
            }
        self.news.set()

    async def until(self, found):
        """Waits until something is so, or the connection is over."""

        async def wait():
            while not found() and self.end is None:
                self.news.clear()
                await self.news.wait()

        await asyncio.wait_for(wait(), PATIENCE)
        return found()

    async def over(self):
        """Waits for the connection's end."""
        await self.until(lambda: self.end)
        return self.end

    def say(self, stream, data, end=False):
        self._quic.send_stream_data(stream, data, end)
        self.transmit()

    def cast(self, data):
        self._quic.send_datagram_frame(data)
        self.transmit()

    def forget_limits(self):
        """Sends whatever it is told to from now on, allowed or not; returns what was allowed: bytes, and
        streams of either kind."""
        quic = self._quic
        limits = [quic._remote_max_data, quic._remote_max_streams_bidi, quic._remote_max_streams_uni]
        self._quic._remote_max_data = 1 << 40
        self._quic._remote_max_stream_data_bidi_remote = 1 << 40
        self._quic._remote_max_streams_bidi = 1 << 20
        self._quic._remote_max_streams_uni = 1 << 20
        self._quic._remote_max_datagram_frame_size = 1 << 16
        return limits

    def proof(self, password):
        material = export(self._quic.tls.key_schedule, b"EXPORTER-Channel-Binding")
        return hmac.digest(password.encode(), material, "sha256")

    def login(self, password, tunnels=(), proof=None):
        """The whole login, ready to be said or maimed."""
        proof = proof or self.proof(password)
        body = os.urandom(16) + b"\0\0" + proof + struct.pack("!H", len(tunnels))
        body += b"".join(struct.pack("!I", n) + tunnel for n, tunnel in enumerate(tunnels))
        return frame(LOGIN, body)

    async def log_in(self, password, tunnels=()):
        """Logs in, and is to be welcome."""
        self.say(0, self.login(password, tunnels))
        welcome = await self.until(lambda: len(self.received.get(0, b"")) >= 7 + len(tunnels))
        assert welcome and self.received[0][0] == 2, (self.end, self.received)
        assert not any(self.received[0][7:]), "a tunnel was refused"


async def connect(server, source="127.0.0.1", alpn=ALPN, **settings):
    """Goes through the handshake; where the server ends it, the peer has an end."""
    config = QuicConfiguration(
        is_client=True, alpn_protocols=[alpn], verify_mode=ssl.CERT_NONE, **settings
    )
    # No name is sent: addresses are none.
    config.server_name = server[0]
    tickets = []
    connection = QuicConnection(configuration=config, session_ticket_handler=tickets.append)
    loop = asyncio.get_running_loop()
    _, peer = await loop.create_datagram_endpoint(
        lambda: Peer(connection), local_addr=(source, 0)
    )
    peer.tickets = tickets
    connected = asyncio.ensure_future(peer.wait_connected())
    peer.connect(server)
    await asyncio.wait([connected, asyncio.ensure_future(peer.over())], return_when="FIRST_COMPLETED")
    if connected.done():
        connected.exception()
    else:
        connected.cancel()
    return peer
