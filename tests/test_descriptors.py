"""How file descriptors are budget out."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.admin.pages import LISTENER_BOUNDS
from onwards_py.descriptors import divide


def test_every_client_can_have_a_provider() -> None:
    """1,024 descriptors: two for each exchange, and a reserve for everything else."""
    budget = divide(1024, 20, 10_000)
    assert (budget.clients, budget.providers, budget.served_below) == (454, 454, 928)
    assert divide(1024, 20, 100).clients == 100
    assert budget.admin == LISTENER_BOUNDS.max_connections


@pytest.mark.parametrize("limit", [1024 * 1024, resource.RLIM_INFINITY])
def test_a_high_limit_leaves_max_connections_alone(limit: int) -> None:
    """Unlimited, as macOS says it, is a negative number."""
    assert divide(limit, 20, 10_000).clients == 10_000


@given(st.integers(32, 2**20), st.integers(8, 24), st.integers(1, 20_000))
def test_the_shares_never_exceed_the_whole(limit: int, in_use: int, most: int) -> None:
    """Clients and providers use descriptors below served_below, which is below refused_below and the limit."""
    budget = divide(limit, in_use, most)
    assert budget.clients <= max(most, 1)
    if limit - in_use >= 32:
        assert in_use + budget.clients + budget.providers <= budget.served_below < budget.refused_below < limit
        # Those that have a moment to read that they are refused are half as many again.
        assert budget.admin + budget.admin // 2 <= limit - budget.refused_below
