"""A Pulumi program: the local foundation, and one small service that depends on it.

Run by the engine in ``test_local_foundation.py``; its configuration says where and with what passwords.
"""

from __future__ import annotations

from pathlib import Path

import pulumi

from contracts.settings import cache_home
from contracts.workload import Port, Probe, Workload
from placements.local.foundation import DATABASES, STORE_USERS, FoundationArgs, LocalFoundation
from placements.local.placement import LocalPlacement

config = pulumi.Config()
secret = config.require_secret
placement = LocalPlacement(
    Path(config.require("home")), config.require_int("portBase"), cache_home(), ("web",)
)

foundation = LocalFoundation(
    "foundation",
    FoundationArgs(
        lab="lab",
        warehouse_prefix="warehouse",
        postgres_superuser_password=secret("superuser"),
        store_root_password=secret("root"),
        database_passwords={name: secret("database") for name in DATABASES},
        store_secret_keys={name: secret("store") for name in STORE_USERS},
    ),
    placement=placement,
)

layout = placement.layout("web", "python", ("http",))
web = placement.deploy(
    Workload(
        name="web",
        artifact="python",
        command=[
            layout.python,
            "-S",
            "-m",
            "http.server",
            "--bind",
            layout.bind_address,
            str(layout.ports["http"]),
        ],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/"),
        env={"DATABASE_PASSWORD": foundation.databases["catalog"].apply(lambda database: database.password)},
        files={"page.txt": config.require("page")},
        depends_on=("postgres", "s3"),
    )
)

pulumi.export("url", web.internal_urls["http"])
pulumi.export("database", foundation.databases["catalog"].apply(lambda database: vars(database)))
pulumi.export("warehouse", foundation.warehouse.apply(lambda warehouse: vars(warehouse)))
pulumi.export("catalog_user", foundation.store_users["catalog"].apply(lambda user: vars(user)))
pulumi.export("opa_user", foundation.store_users["opa"].apply(lambda user: vars(user)))
