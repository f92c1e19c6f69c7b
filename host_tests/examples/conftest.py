"""Fixtures: certificates from a test authority."""

from __future__ import annotations

from host_tests.transports.conftest import certificates  # noqa: F401
