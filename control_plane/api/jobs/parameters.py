"""Values of a run's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from contracts.errors import UsageError
from control_plane.api.jobs.planning import scheduled_date
from control_plane.api.schemas.common import Parameter
from control_plane.api.schemas.jobs import SaveJob, SparkWork, SqlWork
from governance.parameters import ParameterType, literal, names

SCHEDULED_AT, SCHEDULED_DATE = "scheduled_at", "scheduled_date"
OWN = (SCHEDULED_AT, SCHEDULED_DATE)
"""Parameters that every run has: the time that it is for, and the day of it in the schedule's zone."""


def check_parameters(job: SaveJob) -> None:
    """Raises UsageError unless every name that is used is declared, once, with a default of its type."""
    declared = [spec.name for spec in job.parameters]
    for name in declared:
        if name in OWN:
            raise UsageError(f":{name} is given to every run", value=name, permitted="another name")
        if declared.count(name) > 1:
            raise UsageError(f"parameter :{name} is declared twice", value=name)
    for name in used(job):
        if name not in (*declared, *OWN):
            raise UsageError(
                f"parameter :{name} is not declared",
                value=name,
                permitted=", ".join(sorted((*declared, *OWN))),
            )
    for spec in job.parameters:
        literal(Parameter(name=spec.name, type=spec.type, value=spec.default))


def used(job: SaveJob) -> list[str]:
    """Parameters that a job's text names."""
    if isinstance(job.work, SqlWork):
        return names(job.work.statement)
    return [argument[1:] for argument in job.work.arguments if _is_name(argument)]


def resolve(job: SaveJob, given: Sequence[Parameter], at: datetime) -> list[Parameter]:
    """All parameters of a run that is for the time ``at``.

    Raises:
        UsageError: one is not the job's, or its value not of its type.
    """
    values: Mapping[str, Any] = {parameter.name: parameter.value for parameter in given}
    known = {spec.name for spec in job.parameters}
    for name in values:
        if name not in known:
            raise UsageError(
                f"this job has no parameter :{name}",
                value=name,
                permitted=", ".join(sorted(known)) or "none",
            )
    found = [
        Parameter(name=spec.name, type=spec.type, value=values.get(spec.name, spec.default))
        for spec in job.parameters
    ]
    found += [
        Parameter(
            name=SCHEDULED_AT,
            type=ParameterType.TIMESTAMP_TZ,
            value=at.astimezone(UTC).isoformat(timespec="seconds"),
        ),
        Parameter(name=SCHEDULED_DATE, type=ParameterType.DATE, value=scheduled_date(job.schedule, at)),
    ]
    for parameter in found:
        literal(parameter)
    return found


def arguments(work: SparkWork, parameters: Sequence[Parameter]) -> list[str]:
    """A program's arguments with values in them. Raises UsageError: one has none."""
    values = {parameter.name: parameter.value for parameter in parameters}
    found: list[str] = []
    for argument in work.arguments:
        if not _is_name(argument):
            found.append(argument)
            continue
        value = values.get(argument[1:])
        if value is None:
            raise UsageError(f"parameter {argument} has no value", value=argument[1:])
        found.append(_text(value))
    return found


def _is_name(argument: str) -> bool:
    return argument.startswith(":") and names(argument) == [argument[1:]]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
