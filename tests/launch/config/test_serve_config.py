"""Settings of a served policy that cannot be are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from distpolicy.errors import ConfigError
from launch.config.serve import ServeConfig


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"max_request_mb": math.nan}, "max_request_mb must be above 0 and at most 2000, but is nan"),
        ({"max_request_mb": math.inf}, "max_request_mb must be above 0 and at most 2000, but is inf"),
        ({"max_request_mb": 0.0}, "max_request_mb must be above 0"),
        ({"session_idle_s": math.nan}, "session_idle_s must be above 0, but is nan"),
        ({"gpus_per_replica": math.nan}, "gpus_per_replica must be 0 or more, but is nan"),
        ({"gpus_per_replica": math.inf}, "gpus_per_replica must be 0 or more, but is inf"),
        ({"port": 8000, "grpc_port": 8000}, "port and grpc_port must differ"),
    ],
)
def test_what_cannot_be_is_refused(setting: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ServeConfig(**setting)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "0:0:0:0:0:0:0:1"])
def test_loopback_is_known_however_it_is_spelt(host: str) -> None:
    assert ServeConfig(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not ServeConfig(host=host).is_loopback
