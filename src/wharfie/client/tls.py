"""TLS to a remote engine. Apart, because `ssl` costs more to import than a whole local command."""

from __future__ import annotations

import socket
import ssl

from .endpoint import Endpoint, Tls


def context(tls: Tls) -> ssl.SSLContext:
    """The client's side: certificate and key if given, the CA or the system's. Raises OSError."""
    made = ssl.create_default_context(cafile=tls.ca or None)
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if tls.cert:
        made.load_cert_chain(tls.cert, tls.key or None)
    return made


def connect(endpoint: Endpoint) -> ssl.SSLSocket:
    """A connected and verified TLS socket. Raises OSError."""
    assert endpoint.tls is not None
    plain = socket.create_connection((endpoint.address, endpoint.port))
    try:
        return context(endpoint.tls).wrap_socket(plain, server_hostname=endpoint.address)
    except OSError:
        plain.close()
        raise
