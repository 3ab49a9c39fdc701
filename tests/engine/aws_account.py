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
_CHECKOUT = Path(__file__).parents[2]
_PROGRAM = f"""\
import sys

sys.path.insert(0, {str(_CHECKOUT)!r})

from contracts.settings import program_settings
from stacks.persistent import persistent

persistent(program_settings())
"""


@dataclass(kw_only=True)
class Account:
    """The account and one project in it."""

    project: Project
    world: World
    api: PostgresDataApi
    port: int

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
def running_account(folder: Path) -> Iterator[Account]:
    """An empty account, and an empty project for it."""
    cache = cache_home()
    ensure_artifacts(("postgresql",), cache)
    home = artifact_path("postgresql", cache, _CHECKOUT)
    with ExitStack() as stack:
        data = Path(tempfile.mkdtemp(prefix="aurora-"))
        data.chmod(0o755)
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        port = running_postgresql(stack, home, data)
        api = PostgresDataApi(port)
        api.prepare()
        url = stack.enter_context(served(api))
        stack.enter_context(mock_aws())
        project = new_project(folder)
        (folder / "__main__.py").write_text(_PROGRAM, encoding="utf-8")
        environment: Mapping[str, str] = {
            **project.environment,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL_RDS_DATA": url,
            # The state is read between runs, never within one.
            "PULUMI_EXPERIMENTAL": "1",
            "PULUMI_SKIP_CHECKPOINTS": "1",
        }
        account = Account(
            project=dataclasses.replace(project, environment=environment),
            world=World(region=REGION),
            api=api,
            port=port,
        )
        account.settings(
            role="persistent",
            placement="aws",
            awsRegion=REGION,
            awsAccountId=ACCOUNT,
            home="/nonexistent/lab",
        )
        yield account
