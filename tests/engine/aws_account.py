"""An account that moto plays, with a real PostgreSQL behind the RDS Data API, and the engine's runs on it."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml
from moto import mock_aws

from contracts.settings import NAMESPACE, cache_home
from placements.local.software import artifact_path, ensure_artifacts
from tests.engine.plugins_support import Outcome, Project, new_project, running_postgresql
from tests.moto_aws.data_api import PostgresDataApi, served
from tests.moto_aws.provider import attached
from tests.moto_aws.types import World

ACCOUNT, REGION = "123456789012", "eu-central-1"
CHECKOUT = Path(__file__).parents[2]
PERSISTENT = f"""\
import sys

sys.path.insert(0, {str(CHECKOUT)!r})

from contracts.settings import program_settings
from stacks.persistent import persistent

persistent(program_settings())
"""


@dataclass(kw_only=True)
class Account:
    """The account and one project in it."""

    project: Project
    world: World
    database: PostgresDataApi | None = None
    port: int = 0

    @property
    def api(self) -> PostgresDataApi:
        """What answers in the database's place."""
        assert self.database is not None
        return self.database

    def settings(self, **changed: str) -> None:
        """Sets the stack's settings, those of earlier calls kept."""
        path = self.project.folder / "Pulumi.dev.yaml"
        document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        config = document.setdefault("config", {})
        config.update({f"{NAMESPACE}:{key}": value for key, value in changed.items()})
        path.write_text(yaml.safe_dump(document), encoding="utf-8")

    def run(self, *arguments: str) -> Outcome:
        """One run of the engine, with a plugin process of its own."""
        with attached(self.world) as environment:
            own = dataclasses.replace(self.project, environment={**self.project.environment, **environment})
            return own.run(*arguments)

    def up(self, *arguments: str) -> Outcome:
        """``pulumi up`` that must succeed."""
        outcome = self.run("up", "--yes", "--skip-preview", *arguments)
        assert outcome.code == 0, outcome.text
        return outcome

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a superuser of the database sees."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, dbname="postgres", user="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running_account(
    folder: Path, *, program: str = PERSISTENT, environment: Mapping[str, str] | None = None
) -> Iterator[Account]:
    """An empty account without a database, and an empty project for it."""
    # Its list of the policies that AWS wrote: attaching one that does not exist fails there, too.
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        project = new_project(folder)
        (folder / "__main__.py").write_text(program, encoding="utf-8")
        own = {
            **project.environment,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            # The state is read between runs, never within one.
            "PULUMI_EXPERIMENTAL": "1",
            "PULUMI_SKIP_CHECKPOINTS": "1",
            **(environment or {}),
        }
        account = Account(project=dataclasses.replace(project, environment=own), world=World(region=REGION))
        account.settings(placement="aws", awsRegion=REGION, awsAccountId=ACCOUNT, home="/nonexistent/lab")
        yield account


@contextmanager
def running_account_with_database(folder: Path) -> Iterator[Account]:
    """As :func:`running_account`, with a PostgreSQL that answers the RDS Data API."""
    cache = cache_home()
    ensure_artifacts(("postgresql",), cache)
    home = artifact_path("postgresql", cache, CHECKOUT)
    with ExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="aurora-"))
        data.chmod(0o755)
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        port = running_postgresql(stack, home, data)
        api = PostgresDataApi(port)
        api.prepare()
        url = stack.enter_context(served(api))
        made = stack.enter_context(running_account(folder, environment={"AWS_ENDPOINT_URL_RDS_DATA": url}))
        made.settings(role="persistent")
        yield dataclasses.replace(made, database=api, port=port)
