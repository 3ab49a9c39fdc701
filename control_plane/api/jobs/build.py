"""Jobs wired together, nothing contacted."""

from __future__ import annotations

import ssl

import httpx

from control_plane.api.governor import Governor
from control_plane.api.identity.keycloak import Realm
from control_plane.api.identity.sealing import Sealer
from control_plane.api.identity.sessions import Sessions
from control_plane.api.jobs.ledger import Ledger, take_turn
from control_plane.api.jobs.permissions import Permissions
from control_plane.api.jobs.queue import Entries, Worker
from control_plane.api.jobs.quotas import Quotas
from control_plane.api.jobs.runs import Limits, Runs
from control_plane.api.jobs.service import Jobs
from control_plane.api.jobs.spark_engine import Spark
from control_plane.api.jobs.worker import Carrier
from control_plane.api.queries.service import Queries
from control_plane.api.settings import ConsoleSettings
from control_plane.api.storage.database import Database
from control_plane.api.storage.jobs import JobReader
from control_plane.api.storage.kept import Hooks, KeptStore, Kind
from governance.governor.auth import TokenVerifier

_TICKS_AT_ONCE = 4


def build_jobs(
    settings: ConsoleSettings,
    *,
    database: Database,
    realm: Realm,
    sessions: Sessions,
    verifier: TokenVerifier,
    queries: Queries,
    governor: Governor,
    tls: ssl.SSLContext,
    spark_transport: httpx.BaseTransport | None = None,
) -> Jobs:
    """The jobs of a console. ``spark_transport`` takes the place of the network in tests."""
    entries = Entries()
    runs = Runs(
        sessions=database.sessions,
        entries=entries,
        limits=Limits(per_owner=settings.runs_per_user, total=settings.runs),
        take_turn=take_turn,
    )
    ledger = Ledger(database.sessions, entries, runs)
    runs.succeeded = ledger.succeeded
    permissions = Permissions(
        database.sessions,
        Sealer(settings.encryption_key, "offline tokens"),
        realm,
        sessions,
        verifier,
        ledger,
    )
    spark = Spark(settings.spark_url, spark_transport or httpx.HTTPTransport(verify=tls))
    carrier = Carrier(
        runs=runs,
        ledger=ledger,
        permissions=permissions,
        sessions=sessions,
        sealer=Sealer(settings.encryption_key, "job runs"),
        queries=queries,
        spark=spark,
    )
    worker = Worker(
        settings.database_url, carrier.run, carrier.tick, concurrency=settings.runs + _TICKS_AT_ONCE
    )
    hooks = Hooks(saved=ledger.saved, removing=ledger.removing)
    return Jobs(
        sessions=database.sessions,
        kept=KeptStore(database.sessions, Kind.JOB, hooks),
        reader=JobReader(database.sessions),
        ledger=ledger,
        runs=runs,
        permissions=permissions,
        quotas=Quotas(database.sessions, governor, runs),
        worker=worker,
        queries=queries,
        spark=spark,
    )
