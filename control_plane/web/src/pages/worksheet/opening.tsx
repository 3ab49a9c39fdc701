import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect } from "react";
import { useNavigate, useParams, useSearchParams } from "react-router";
import { api, unwrap } from "@/api/client";
import { ProblemNote } from "@/components/problem";
import { Spinner } from "@/components/ui/feedback";
import { fromSpecs } from "@/query/parametervalues";
import { Run } from "@/query/run";
import type { SheetStore } from "./sheets";

/**
 * What an address asks to open: a saved query, a query of the past, a text, or an empty worksheet. Nothing
 * that an address holds is run: whoever opens it presses Run.
 */
export function useOpening(store: SheetStore): ReactNode {
  const { savedId, queryId } = useParams();
  const [search] = useSearchParams();
  const navigate = useNavigate();
  const saved = useQuery({
    queryKey: ["saved-query", savedId],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/saved-queries/{saved_query_id}", {
          params: { path: { saved_query_id: savedId ?? "" } },
        }),
      ),
    enabled: savedId !== undefined,
    staleTime: 0,
    gcTime: 0,
  });
  const past = useQuery({
    queryKey: ["query", queryId],
    queryFn: () =>
      unwrap(
        api.GET("/api/v1/queries/{query_id}", { params: { path: { query_id: queryId ?? "" } } }),
      ),
    enabled: queryId !== undefined,
    staleTime: 0,
    gcTime: 0,
  });

  const isNew = search.get("new") !== null;
  const sql = search.get("sql");
  useEffect(() => {
    if (isNew || sql !== null) {
      store.open({
        text: sql ?? "",
        catalog: search.get("catalog"),
        namespace: search.get("namespace"),
      });
      navigate("/worksheet", { replace: true });
    }
  }, [isNew, sql, search, store, navigate]);

  const query = saved.data;
  useEffect(() => {
    if (query === undefined) return;
    const open = store.snapshot().sheets.find((one) => one.saved?.id === query.id);
    if (open !== undefined) {
      store.activate(open.id);
      // Somebody else's newer text, unless this one was changed here.
      if (open.text === open.saved?.text && open.saved.version !== query.version) {
        store.update(open.id, {
          text: query.statement,
          title: query.title,
          saved: { id: query.id, version: query.version, text: query.statement },
        });
      }
    } else {
      store.open({
        title: query.title,
        text: query.statement,
        catalog: query.catalog,
        namespace: query.namespace,
        parameters: fromSpecs(query.parameters),
        saved: { id: query.id, version: query.version, text: query.statement },
      });
    }
  }, [query, store]);

  const run = past.data;
  useEffect(() => {
    if (run === undefined) return;
    const open = store.snapshot().sheets.find((one) => one.queryId === run.id);
    const sheet =
      open ??
      store.open({
        text: run.statement,
        catalog: run.catalog,
        namespace: run.namespace,
        queryId: run.id,
      });
    store.activate(sheet.id);
    if (store.run(sheet.id) === undefined) store.setRun(sheet.id, Run.of(run));
    navigate("/worksheet", { replace: true });
  }, [run, store, navigate]);

  const error = saved.error ?? past.error;
  if (error) return <ProblemNote error={error} again className="m-3 mt-0" />;
  if ((savedId && saved.isPending) || (queryId && past.isPending)) {
    return (
      <div className="px-4 pb-2">
        <Spinner label="Opening" />
      </div>
    );
  }
  return null;
}
