"""What may stand between a client and a server: a proxy, and TLS with a certificate."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest


@dataclass(frozen=True)
class Certificate:
    """One that signed itself, for some names, and its key."""

    certificate: Path
    key: Path


def self_signed(folder: Path, *names: str) -> Certificate:
    """Make a certificate, by the command that every CI image has."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    alternatives = ",".join(
        f"{'IP' if each[0].isdigit() else 'DNS'}:{each}" for each in names
    )
    subprocess.run(
        [
            *[
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=test",
            ],
            *("-addext", f"subjectAltName={alternatives}"),
            *("-keyout", str(made.key), "-out", str(made.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return made


class _Between:
    """Accepts connections on loopback and leads each of them somewhere."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        # Closing alone would leave the one that `accept` waits for.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(
                    target=self._served, args=(client,), daemon=True
                ).start()

    def _served(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            self._lead(client)

    def _lead(self, client: socket.socket) -> None:
        raise NotImplementedError


class Proxy(_Between):
    """An HTTP proxy, by CONNECT and by whole addresses.

    Args:
        lead: From the host and port that are asked for to those that answer.
    """

    def __init__(
        self,
        lead: Callable[[str, int], tuple[str, int]] = lambda host, port: (host, port),
    ) -> None:
        self._where = lead
        #: The first line of each request that came here.
        self.asked: list[str] = []
        super().__init__()

    @property
    def url(self) -> str:
        """Its address, for `HTTPS_PROXY` and the like."""
        return f"http://127.0.0.1:{self.port}"

    def _lead(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        first, rest = head.split(b"\r\n", 1)
        method, address, version = first.decode().split(" ")
        self.asked.append(f"{method} {address}")
        if method == "CONNECT":
            host, _, port = address.rpartition(":")
            with socket.create_connection(self._where(host, int(port))) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                _pipe(client, server)
            return
        parts = urlsplit(address)
        where = self._where(parts.hostname or "", parts.port or 80)
        with socket.create_connection(where) as server:
            path = address[len(f"{parts.scheme}://{parts.netloc}") :] or "/"
            server.sendall(f"{method} {path} {version}\r\n".encode() + rest)
            _pipe(client, server)


class Tls(_Between):
    """Ends TLS before a server that does not speak it."""

    def __init__(self, certificate: Certificate, port: int) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._to = port
        super().__init__()

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    def _lead(self, client: socket.socket) -> None:
        with (
            self._context.wrap_socket(client, server_side=True) as plain,
            socket.create_connection(("127.0.0.1", self._to)) as server,
        ):
            _pipe(plain, server)


def _pipe(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(other, one), daemon=True)
    back.start()
    _copy(one, other)
    back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
