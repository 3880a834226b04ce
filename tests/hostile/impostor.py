"""A server that presents a certificate without having its key: `impostor.py CERTIFICATE`.

It prints where it is, and whatever a client sends on streams.
"""

import asyncio
import sys

from aioquic.asyncio import serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import load_der_x509_certificate


class Impostor(QuicConnectionProtocol):
    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            print("taken in", flush=True)
        elif isinstance(event, StreamDataReceived):
            print("was told", event.data.hex(), flush=True)
        elif isinstance(event, ConnectionTerminated):
            print("turned down", event.error_code, flush=True)


async def main(certificate):
    config = QuicConfiguration(is_client=False, alpn_protocols=["rstun/1"])
    with open(certificate, "rb") as file:
        config.certificate = load_der_x509_certificate(file.read())
    config.private_key = ec.generate_private_key(ec.SECP256R1())
    server = await serve("127.0.0.1", 0, configuration=config, create_protocol=Impostor)
    host, port = server._transport.get_extra_info("sockname")[:2]
    print(f"listening on {host}:{port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
