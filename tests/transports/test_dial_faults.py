"""Connection failures: those of the provider, and those of the proxy's own machine."""

from __future__ import annotations

import errno
import resource
import socket

import pytest

from onwards_py.config.parse import parse
from onwards_py.errors import ErrorKind
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.messages import OWN_FAULTS, Fault
from onwards_py.proxy.upstream_request import error_of
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.health import HealthState
from onwards_py.routing.outlier_detection import note_fault
from onwards_py.transports.dial import fault_of


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_lack_of_resources_is_the_proxys_own_fault(number: int) -> None:
    """The resources are descriptors, memory and ports."""
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
def test_other_connection_failures_are_the_providers(error: Exception) -> None:
    """A host name that does not exist is one of them, if the resolver had the resources for a query."""
    assert fault_of(error) is Fault.CONNECT


@pytest.mark.parametrize(
    "error",
    [socket.gaierror(socket.EAI_AGAIN, "temporary failure"), OSError("Multiple exceptions: ...")],
    ids=["no such name", "several addresses"],
)
def test_indirect_reports_of_missing_descriptors_are_the_proxys_own_fault(error: Exception) -> None:
    """Without descriptors a resolver reports that the name does not exist, and event loops combine the failures of
    several addresses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        fault = fault_of(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert fault is Fault.EXHAUSTED


@pytest.mark.parametrize(("fault", "proceeds"), [(Fault.EXHAUSTED, False), (Fault.NO_PORT, True)])
def test_ports_are_missing_for_one_provider_and_descriptors_for_all(fault: Fault, proceeds: bool) -> None:
    """Without ports another provider may still be reached; without descriptors none can be. The failure does not
    count against the provider."""
    text = """
targets:
  m:
    fallback: {enabled: true}
    ejection: {consecutive_failures: 1}
    providers: [{url: http://a}, {url: http://b}]
"""
    snapshot = parse(text, "targets.yaml", {}).snapshot
    target = ConfigHolder(snapshot, LiveState(lambda: 0.0)).current.table.targets[0]
    plan = FallbackPlan(target, lambda: 0.0, None)
    member = plan.next(0.0)
    assert member is not None
    note_fault(member, fault, 0.0)
    assert member.health is not None
    assert member.health.state is HealthState.HEALTHY
    assert plan.retries_fault(fault, repeatable=False) is proceeds
    assert error_of(fault).kind is ErrorKind.OVERLOADED
    assert error_of(fault).retry_after == 1
    note_fault(member, Fault.CONNECT, 0.0)
    assert member.health.state is HealthState.EJECTED
