"""Every fault happens behind both doors."""

import pytest

pytest.register_assert_rewrite("fault_providers", "fault_stage")


@pytest.fixture(params=[True, False], ids=["lane", "aiohttp"])
def lane(request: pytest.FixtureRequest) -> bool:
    """Which door the gateway listens with: the byte lane, or aiohttp."""
    return bool(request.param)
