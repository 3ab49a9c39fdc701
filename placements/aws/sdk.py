"""The providers' SDKs, imported when they are used: a lab on this machine has no use for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from contracts.errors import PreflightError


def aws() -> Any:
    """``pulumi_aws``. Raises PreflightError where it is not installed."""
    return _sdk("pulumi_aws")


def eks() -> Any:
    """``pulumi_eks``. Raises PreflightError where it is not installed."""
    return _sdk("pulumi_eks")


def _sdk(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise PreflightError(
            "the packages of the cluster placements are not installed",
            value=str(error.name),
            permitted="the environment of requirements-cloud.txt",
            next_command="./lab up",
        ) from error
