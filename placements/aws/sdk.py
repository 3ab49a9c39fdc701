"""The providers' SDKs, imported when they are used: a lab on this machine has no use for them."""

from __future__ import annotations

from typing import Any

from placements.kubernetes.resources import sdk


def aws() -> Any:
    """``pulumi_aws``. Raises PreflightError where it is not installed."""
    return sdk("pulumi_aws")


def eks() -> Any:
    """``pulumi_eks``. Raises PreflightError where it is not installed."""
    return sdk("pulumi_eks")
