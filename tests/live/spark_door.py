"""What clients of Spark Connect may do at the lab's one port: a program for ``lab spark shell``.

It speaks as two users from one process, whose clients share connections to the port, and prints what it
found as JSON. Nothing of the lab is imported: Spark's own client library is all that there is.
"""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any

import grpc
from pyspark.errors import PySparkException
from pyspark.sql.connect import functions
from pyspark.sql.connect.proto import base_pb2 as pb2
from pyspark.sql.connect.proto import base_pb2_grpc, relations_pb2
from pyspark.sql.connect.session import SparkSession

MANY_ROWS = "SELECT id FROM range(4000000)"
BIG_BYTES = 20 << 20


class Connect:
    """The protocol itself as a user, by the token of one of two servers, who says to be ``said``."""

    def __init__(self, url: str, token: str | None, said: str) -> None:
        self.stub = base_pb2_grpc.SparkConnectServiceStub(
            grpc.insecure_channel(url.removeprefix("sc://"))  # to the loopback address
        )
        self.metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        self.session, self.user = str(uuid.uuid4()), pb2.UserContext(user_id=said)

    def execute(self, statement: str, operation: str) -> Any:
        """Begins a statement that can be gone on with after the call has broken off."""
        reattachable = pb2.ReattachOptions(reattachable=True)
        plan = pb2.Plan(root=relations_pb2.Relation(sql=relations_pb2.SQL(query=statement)))
        request = pb2.ExecutePlanRequest(
            session_id=self.session,
            user_context=self.user,
            operation_id=operation,
            plan=plan,
            request_options=[pb2.ExecutePlanRequest.RequestOption(reattach_options=reattachable)],
        )
        return self.stub.ExecutePlan(request, metadata=self.metadata)

    def reattach(self, operation: str, last_response: str) -> Any:
        """Goes on behind the response that came last."""
        request = pb2.ReattachExecuteRequest(
            session_id=self.session,
            user_context=self.user,
            operation_id=operation,
            last_response_id=last_response,
        )
        return self.stub.ReattachExecute(request, metadata=self.metadata)


def refusal(url: str, token: str | None) -> str:
    """How a call with a token that no server has ends."""
    client = Connect(url, token, "engineer")
    try:
        list(client.execute("SELECT 1", str(uuid.uuid4())))
    except grpc.RpcError as error:
        return str(error.code().name)
    return "served"


def session(url: str, token: str, said: str, identifier: str) -> SparkSession:
    """A session as Spark's own client makes it."""
    return SparkSession.builder.remote(
        f"{url}/;token={token};user_id={said};session_id={identifier}"
    ).create()


def condition(spark: SparkSession, statement: str) -> str:
    """What a statement that must fail fails with."""
    try:
        spark.sql(statement).collect()
    except PySparkException as error:
        return f"{error.getCondition()} {error}"
    return "served"


def broken_off(url: str, token: str) -> dict[str, Any]:
    """Reads the beginning of a large result, breaks the call off, and goes on where it ended."""
    client, operation = Connect(url, token, "engineer"), str(uuid.uuid4())
    call, last, rows, calls = client.execute(MANY_ROWS, operation), "", 0, 1
    complete = False
    while not complete:
        for response in call:
            last = response.response_id
            rows += response.arrow_batch.row_count
            complete = response.HasField("result_complete")
            if calls < 3 and response.arrow_batch.row_count:
                call.cancel()
                break
        if not complete:
            calls += 1
            call = client.reattach(operation, last)
    return {"rows": rows, "calls": calls}


def interrupted(spark: SparkSession) -> str:
    """A statement without end, ended from elsewhere in the session."""
    timer = threading.Timer(3, spark.interruptAll)
    timer.start()
    try:
        return condition(spark, "SELECT count(*) FROM range(1000000000000) WHERE hash(id) = id")
    finally:
        timer.cancel()


def main(url: str, mine: str, theirs: str) -> None:
    """``mine`` is an engineer's token, ``theirs`` another user's."""
    shared = str(uuid.uuid4())
    engineer = session(url, mine, "engineer", shared)
    engineer.range(3).createOrReplaceTempView("kept_to_myself")
    # Another user, who says to be the engineer, in the engineer's session.
    other = session(url, theirs, "engineer", shared)
    # The engineer, who says to be somebody who may read what is kept from engineers.
    forged = session(url, mine, "hr", str(uuid.uuid4()))
    # Much more than gRPC lets through by itself, in both directions.
    big = engineer.range(1).select(functions.lit("x" * BIG_BYTES).alias("big")).collect()
    found = {
        "no token": refusal(url, None),
        "a guess": refusal(url, "guess"),
        "mine": engineer.table("kept_to_myself").count(),
        "another's": condition(other, "SELECT * FROM kept_to_myself"),
        "forged": condition(forged, "SELECT * FROM hr.employees"),
        "forged, what is permitted": forged.table("retail.nation").count(),
        "big": len(big[0].big),
        "broken off": broken_off(url, mine),
        "interrupted": interrupted(engineer),
        "afterwards": engineer.range(7).count(),
    }
    print(json.dumps(found))
