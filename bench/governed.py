"""What the rules cost: a running lab's Trino against a twin of it that asks no policy.

    LAB_HOME=/tmp/bench ./lab up --set scaleFactor=1
    LAB_HOME=/tmp/bench python -m bench.governed --pairs 5            # the 22 queries of TPC-H
    LAB_HOME=/tmp/bench python -m bench.governed --tables 20000       # listing that many tables

The twin is started here from the lab's own files: same heap, catalog, object store and sign-in, without
access control. Each statement runs on both in turn, who is first alternating, as the same sample user
(``engineer``: granted everything in ``retail``, held back by no rule). Prints the geometric mean of the
ratios of each pair's seconds, and the interval over pairs, then the processor time of every process that
had to do with it, which says where the difference comes from. Registering 20,000 tables takes minutes; use a
lab of its own and destroy it afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from bench.lifecycle import wait
from bench.processors import Processors
from cli.access import seeder_connection, user_tokens
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience
from governance.query import TrinoSession
from seed.connection import open_catalog

QUERIES = Path(__file__).with_name("tpch.sql")
TWIN_HTTPS, TWIN_INTERNAL = 26040, 26041
NAMESPACE = "raw"
WARM_UPS = 2

Run = Callable[[str], float]


def main() -> None:
    """Measures what was asked for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tables", type=int, help="list this many tables instead of running TPC-H")
    parser.add_argument("--as", dest="persona", default="engineer")
    arguments = parser.parse_args()
    session = Session(open_lab())
    statements = tpch_queries()
    if arguments.tables:
        add_tables(session, arguments.tables)
        statements = {"SHOW TABLES": f"SHOW TABLES FROM {NAMESPACE}"}
    with both(session, arguments.persona) as (governed, twin, processors):
        for _ in range(WARM_UPS):  # caches and compiled code, on both sides
            for statement in statements.values():
                governed(statement)
                twin(statement)
        report(statements, governed, twin, processors, arguments.pairs)


def report(statements: dict[str, str], governed: Run, twin: Run, processors: Processors, pairs: int) -> None:
    """Runs the pairs and prints each statement's medians and the means of ratios."""
    processors.skip()
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in statements}
    means = []
    for number in range(pairs):
        ratios = []
        for name, statement in statements.items():
            first, second = (governed, twin) if number % 2 == 0 else (twin, governed)
            spent: dict[Run, float] = {}
            for run in (first, second):
                spent[run] = run(statement)
                processors.count("governed" if run is governed else "twin")
            seconds[name][0].append(spent[governed])
            seconds[name][1].append(spent[twin])
            ratios.append(spent[governed] / spent[twin])
        means.append(math.exp(statistics.fmean(math.log(ratio) for ratio in ratios)))
        print(f"pair {number + 1}/{pairs}: {means[-1]:.3f}", flush=True)
    print(f"\n{'':14}governed   twin  ratio   (medians of {pairs} pairs in s, {os.cpu_count()} cores)")
    for name, (with_rules, without) in seconds.items():
        a, b = statistics.median(with_rules), statistics.median(without)
        print(f"{name:14}{a:8.2f}{b:7.2f}{a / b:7.2f}")
    print(f"geometric mean: {statistics.median(means):.3f} ({min(means):.3f} to {max(means):.3f})")
    processors.report(pairs * len(statements))


def tpch_queries() -> dict[str, str]:
    """The queries by name, in order."""
    parts = QUERIES.read_text(encoding="utf-8").split("\n-- q")[1:]
    return {f"Q{part[:2]}": part[2:].strip().rstrip(";") for part in parts}


@contextmanager
def both(session: Session, persona: str) -> Iterator[tuple[Run, Run, Processors]]:
    """Runs of one statement on the lab's Trino and on the twin, each giving its seconds, and the processor
    time that both spend."""
    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.TRINO)
    urls = (str(outputs.trino_url), f"https://127.0.0.1:{TWIN_HTTPS}")

    with ungoverned_twin(session.lab.home) as twin_pid, ExitStack() as stack:

        def runner(url: str) -> Run:
            opened = TrinoSession(url, token, outputs.ca_certificate, source="bench")
            connection = stack.enter_context(opened)

            def run(statement: str) -> float:
                began = time.monotonic()
                count = sum(1 for _ in connection.run(statement).rows)
                spent = time.monotonic() - began
                if count == 0:
                    raise SystemExit(f"no rows, so nothing was measured: {statement[:80]}")
                return spent

            return run

        yield runner(urls[0]), runner(urls[1]), Processors.of(session.lab.home, twin_pid)


@contextmanager
def ungoverned_twin(home: Path) -> Iterator[int]:
    """Trino as the lab runs it, on other ports, without access control and audit; its pid."""
    with trino_twin(home, TWIN_HTTPS, TWIN_INTERNAL, without=("access-control.", "event-listener.")) as pid:
        yield pid


@contextmanager
def trino_twin(
    home: Path,
    https: int,
    internal: int,
    *,
    without: tuple[str, ...] = (),
    instead: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Trino as the lab runs it, on other ports, without the lines of ``config.properties`` that begin so, and
    with texts in its files put instead of others; its pid."""
    spec = json.loads((home / "run" / "services" / "trino" / "spec.json").read_text(encoding="utf-8"))
    ports = {str(spec["ports"]["https"]): str(https), str(spec["ports"]["internal"]): str(internal)}
    with tempfile.TemporaryDirectory(prefix="lab-twin-") as folder:
        for name, content in spec["files"].items():
            own = name == "config.properties"
            lines = content.replace(spec["files_dir"], folder).splitlines(keepends=True)
            text = "".join(line for line in lines if not (own and line.startswith(without)))
            for old, new in {**(ports if own else {}), **(instead or {})}.items():
                text = text.replace(old, new)
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        command = [word.replace(spec["files_dir"], folder) for word in spec["argv"]]
        with service(command, spec["env"], Path(folder)) as pid:
            wait(f"https://127.0.0.1:{https}/v1/info", '"starting":false')
            yield pid


@contextmanager
def service(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Iterator[int]:
    """A process with its log in ``folder``, ended at the end; its pid."""
    with (folder / "log").open("ab") as log:
        environment = {**env, "PATH": os.environ["PATH"], "HOME": str(folder)}
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def add_tables(session: Session, count: int) -> None:
    """Registers tables under ``raw`` until there are ``count``: names for the same files."""
    connection = seeder_connection(session, session.outputs())
    catalog = open_catalog(connection)
    there = {name[-1] for name in catalog.list_tables(NAMESPACE)}
    metadata_location = catalog.load_table("retail.nation").metadata_location
    token = connection.token_provider()
    prefix = session.outputs().catalog_warehouse
    url = f"{connection.catalog_uri}/v1/{registered_prefix(catalog.properties, prefix)}"
    missing = [name for number in range(count) if (name := f"bench_{number:06d}") not in there]
    print(f"registering {len(missing)} tables")
    with ThreadPoolExecutor(8) as pool:
        for status in pool.map(lambda name: register(url, token, name, metadata_location), missing):
            if status >= 400:
                raise SystemExit(f"the catalog refuses to register a table: HTTP {status}")


def registered_prefix(properties: dict[str, str], warehouse: str) -> str:
    """The catalog's own prefix of its paths."""
    return str(properties.get("prefix", warehouse)).replace("|", "%7C")


def register(url: str, token: Callable[[], str], name: str, metadata_location: str) -> int:
    """One table; the HTTP status."""
    answer = requests.post(
        f"{url}/namespaces/{NAMESPACE}/register",
        json={"name": name, "metadata-location": metadata_location},
        headers={"Authorization": f"Bearer {token()}"},
        timeout=60,
    )
    return answer.status_code


if __name__ == "__main__":
    main()
