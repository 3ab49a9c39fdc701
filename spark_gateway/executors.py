"""The executors of runs, in the words of a cluster's API: a driver asks for them, sees them and lets them go,
and those of no other run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from spark_gateway.cluster_api import WATCH_S, ClusterApi, ClusterApiError, Manifest
from spark_gateway.drivers import LaunchPlan
from spark_gateway.executor_plan import (
    ExecutorRequest,
    executor_labels,
    executor_pod,
    executor_secret,
    requested,
)
from spark_gateway.pod_plan import PodPlan, pod_name
from spark_gateway.pod_states import over

log = logging.getLogger(__name__)

STOP_S = 5
"""What an executor gets to end by itself; what it computed is its driver's to have computed again."""
_PAUSE_S = 0.5
_GONE = 410
_WATCHES = 4
"""Of one run side by side: each is a connection to the cluster's API."""
_PASSED_ON = frozenset({"fieldSelector", "resourceVersion", "limit", "continue"})
"""Parameters of a question that are the cluster's to understand; selectors of labels are added to our own."""
_LABEL_SELECTOR = re.compile(r"[-A-Za-z0-9_./=!, ()]*")


class Executors:
    """Makes, shows and deletes them with the gateway's own rights.

    Every method takes the run whose credential was shown, and knows nothing of others.
    """

    def __init__(self, plan: PodPlan, launches: LaunchPlan, api: ClusterApi) -> None:
        self._plan, self._launches, self._api = plan, launches, api
        self._watching: Counter[str] = Counter()
        self._making: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    @property
    def namespace(self) -> str:
        """Where they all are."""
        return self._plan.namespace

    async def create(self, run_id: str, pod: Any) -> Manifest:
        """An executor as it was made, from the pod that its driver asks for.

        Raises:
            UsageError: that is no executor.
            ClusterApiError: the run has as many as it may (403), its driver is gone (403), or the cluster
                refuses or does not answer.
        """
        request = requested(pod)
        lock = self._making.setdefault(run_id, asyncio.Lock())
        async with lock:
            owner = await self._api.pod(pod_name(run_id))
            if owner is None or over(owner) or "deletionTimestamp" in owner["metadata"]:
                raise ClusterApiError("the driver has ended", status=403, value=run_id)
            made = executor_pod(self._plan, self._launches, run_id, request, owner)
            there = [one for one in await self._of(run_id) if not over(one)]
            maximum = self._launches.executors.maximum if self._launches.executors else 0
            if len(there) >= maximum:
                raise ClusterApiError(
                    f"exceeded quota: {len(there)} executors of this driver run already, "
                    f"{maximum} may (setting sparkMaxExecutors)",
                    status=403,
                    value=run_id,
                )
            return await self._make(made, request)

    async def _make(self, pod: Manifest, request: ExecutorRequest) -> Manifest:
        """The pod first, which waits for its Secret: this one goes with it."""
        made = await self._api.create("pods", pod)
        try:
            await self._api.create("secrets", executor_secret(self._plan, request, made))
        except BaseException:
            await asyncio.shield(self._discard(made["metadata"]["name"]))
            raise
        return made

    async def _discard(self, name: str) -> None:
        with contextlib.suppress(ClusterApiError):
            await self._api.delete_pod(name, grace_s=STOP_S)

    async def page(self, run_id: str, query: Mapping[str, str]) -> Manifest:
        """A page of the run's executors that ``query`` asks for (``labelSelector``, ``fieldSelector`` and so
        on). Raises ClusterApiError."""
        return await self._api.page(self._limited(run_id, query))

    async def watch(self, run_id: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """What becomes of them, as lines of JSON, until the cluster ends it; the driver then asks again.
        Where the cluster no longer knows what was when the driver looked last, it tells what is now. A run
        has one such stream for each of its contexts; those beyond ``_WATCHES`` end at once."""
        params = {**self._limited(run_id, query), "watch": "true", "timeoutSeconds": str(WATCH_S)}
        if query.get("allowWatchBookmarks") == "true":
            params["allowWatchBookmarks"] = "true"
        if self._watching[run_id] >= _WATCHES:
            await asyncio.sleep(_PAUSE_S)
            return
        self._watching[run_id] += 1
        try:
            async for line in self._lines(run_id, params):
                yield line
        finally:
            self._watching[run_id] -= 1
            if not self._watching[run_id]:
                del self._watching[run_id]

    async def _lines(self, run_id: str, params: dict[str, str]) -> AsyncIterator[bytes]:
        while True:
            try:
                async for event in self._api.events(params):
                    yield json.dumps(event).encode() + b"\n"
                return
            except (ClusterApiError, ValueError) as error:
                gone = isinstance(error, ClusterApiError) and error.status == _GONE
                if not gone or params.pop("resourceVersion", None) is None:
                    log.warning("executors of %s can't be watched: %s", run_id, error)
                    # Not at once: the driver asks again as soon as it ends.
                    await asyncio.sleep(_PAUSE_S)
                    return

    async def one(self, run_id: str, name: str) -> Manifest | None:
        """The one of that name; None when the run has none. Raises ClusterApiError."""
        return next((pod for pod in await self._of(run_id) if pod["metadata"]["name"] == name), None)

    async def delete(self, run_id: str, name: str) -> bool:
        """Ends one; False when the run has none of that name. Raises ClusterApiError."""
        if await self.one(run_id, name) is None:
            return False
        await self._api.delete_pod(name, grace_s=STOP_S)
        return True

    async def delete_all(self, run_id: str, query: Mapping[str, str]) -> None:
        """Ends those that ``query`` asks for. Raises ClusterApiError."""
        wanted = {key: text for key, text in query.items() if key in ("labelSelector", "fieldSelector")}
        params = self._limited(run_id, wanted)
        names = [one["metadata"]["name"] for one in await self._api.all_pods(params)]
        await asyncio.gather(*(self._api.delete_pod(name, grace_s=STOP_S) for name in names))

    async def _of(self, run_id: str) -> list[Manifest]:
        return await self._api.pods(executor_labels(self._plan, run_id))

    def _limited(self, run_id: str, query: Mapping[str, str]) -> dict[str, str]:
        """The parameters of ``query``, for this run's executors alone: conditions add up, and ours come
        first. Raises ClusterApiError (400) for a selector that is none."""
        own = [f"{key}={value}" for key, value in executor_labels(self._plan, run_id).items()]
        theirs = query.get("labelSelector", "")
        if _LABEL_SELECTOR.fullmatch(theirs) is None:
            raise ClusterApiError("this is no selector of labels", status=400, value=theirs[:80])
        passed = {key: text for key, text in query.items() if key in _PASSED_ON}
        return {**passed, "labelSelector": ",".join([*own, *([theirs] if theirs else [])])}
