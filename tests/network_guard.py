# SPDX-License-Identifier: Apache-2.0
"""Nothing a test does may reach another machine; attempts fail, and are kept, as many libraries swallow the error."""

import socket

LOOPBACK = ("127.0.0.1", "localhost", "::1", "0.0.0.0")
ATTEMPTS: list[str] = []


def check(host: object) -> None:
    """Refuse a host that is not this one."""
    host = host.decode() if isinstance(host, bytes) else host
    if isinstance(host, str) and host not in (*LOOPBACK, ""):
        ATTEMPTS.append(host)
        raise AssertionError(f"a test tried to reach {host}")


def install() -> None:
    """Guard this process; native code is not seen."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self, address):
        if isinstance(address, tuple):
            check(address[0])
        return connect(self, address)

    def guarded_connect_ex(self, address):
        if isinstance(address, tuple):
            check(address[0])
        return connect_ex(self, address)

    def guarded_getaddrinfo(host, *args, **kwargs):
        if host != socket.gethostname():
            check(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect, socket.socket.connect_ex = guarded_connect, guarded_connect_ex
    socket.getaddrinfo = guarded_getaddrinfo
