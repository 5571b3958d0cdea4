"""Which failures of a connection are the provider's, and which are ours."""

from __future__ import annotations

import errno
import resource
import socket

import pytest

from onwards_py.messages import OWN_FAULTS, Fault
from onwards_py.transports.dial import fault_of


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_what_this_machine_lacks_is_ours(number: int) -> None:
    """Descriptors, memory, ports."""
    assert fault_of(OSError(number, "")) in OWN_FAULTS


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ECONNREFUSED, ""),
        OSError(errno.ENETUNREACH, ""),
        OSError("Multiple exceptions: ..."),
        socket.gaierror(socket.EAI_NONAME, "no such name"),
        UnicodeError("label too long"),
    ],
    ids=repr,
)
def test_everything_else_is_the_providers(error: Exception) -> None:
    """Also a name that does not exist, as long as the resolver had what it needs."""
    assert fault_of(error) is Fault.CONNECT


def test_a_resolver_without_descriptors_knows_no_name() -> None:
    """It says so in the words for a name that does not exist."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        fault = fault_of(socket.gaierror(socket.EAI_AGAIN, "temporary failure"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert fault is Fault.EXHAUSTED
