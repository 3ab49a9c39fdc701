import {
  autocompletion,
  type CompletionContext,
  type CompletionResult,
  closeBrackets,
  closeBracketsKeymap,
  closeCompletion,
  completionKeymap,
  type Completion as Offer,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import {
  keywordCompletionSource,
  SQLDialect,
  schemaCompletionSource,
  sql,
} from "@codemirror/lang-sql";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  syntaxHighlighting,
} from "@codemirror/language";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, type Extension, Prec } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
  placeholder,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Completion } from "@/api/types";
import { columnsInScope, pieceAt, split } from "./statements";

const BUILTIN_TYPES =
  "boolean tinyint smallint integer int bigint real double decimal varchar char varbinary json date time timestamp interval array map row uuid ipaddress";

const THEME = EditorView.theme({
  "&": {
    height: "100%",
    fontSize: "13px",
    color: "var(--foreground)",
    backgroundColor: "transparent",
  },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--font-mono)", lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--primary)" },
  ".cm-cursor": { borderLeftColor: "var(--primary)", borderLeftWidth: "2px" },
  ".cm-gutters": {
    backgroundColor: "transparent",
    color: "var(--muted-foreground)",
    border: "none",
    paddingLeft: "4px",
  },
  ".cm-activeLine, .cm-activeLineGutter": {
    backgroundColor: "color-mix(in srgb, var(--accent) 55%, transparent)",
  },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground":
    {
      backgroundColor: "color-mix(in srgb, var(--primary) 24%, transparent)",
    },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": {
    backgroundColor: "var(--primary-soft)",
    outline: "1px solid var(--border-strong)",
  },
  ".cm-selectionMatch": { backgroundColor: "var(--primary-soft)" },
  ".cm-placeholder": { color: "var(--muted-foreground)" },
  ".cm-tooltip": {
    backgroundColor: "var(--popover)",
    color: "var(--popover-foreground)",
    border: "1px solid var(--border-strong)",
    borderRadius: "6px",
    boxShadow: "0 8px 24px -6px var(--shadow-color)",
    overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--font-mono)", maxHeight: "16em" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "2px 8px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": {
    backgroundColor: "var(--primary-soft)",
    color: "var(--primary-strong)",
  },
  ".cm-completionDetail": { color: "var(--muted-foreground)", fontStyle: "normal" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-diagnostic": { padding: "6px 10px", fontFamily: "var(--font-sans)" },
  ".cm-diagnostic-error": { borderLeft: "3px solid var(--destructive)" },
  ".cm-lintRange-error": {
    backgroundImage: "none",
    textDecoration: "underline wavy var(--destructive) 1px",
    textUnderlineOffset: "3px",
  },
  ".cm-panels": {
    backgroundColor: "var(--muted)",
    color: "var(--foreground)",
    borderColor: "var(--border)",
    fontFamily: "var(--font-sans)",
  },
  ".cm-panel.cm-search input, .cm-panel.cm-search button": { fontSize: "12px" },
  ".cm-button": {
    backgroundImage: "none",
    backgroundColor: "var(--card)",
    border: "1px solid var(--border-strong)",
    borderRadius: "4px",
  },
  ".cm-textfield": { backgroundColor: "var(--card)", border: "1px solid var(--input)" },
});

const COLORS = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: "var(--syntax-keyword)", fontWeight: "500" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--syntax-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--syntax-number)" },
  {
    tag: [tags.lineComment, tags.blockComment],
    color: "var(--syntax-comment)",
    fontStyle: "italic",
  },
  { tag: [tags.typeName, tags.standard(tags.name)], color: "var(--syntax-function)" },
]);

/** What a statement's tables offer, and Trino's functions: what lang-sql's own completion leaves out. */
export function scopeSource(completion: Completion, namespace: string | null) {
  const functions: Offer[] = completion.functions.map((name) => ({
    label: name,
    type: "function",
    apply: `${name}(`,
    boost: -20,
  }));
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/[\w$]+/);
    if (word === null && !context.explicit) return null;
    const from = word?.from ?? context.pos;
    // After a dot the schema's own completion knows better.
    if (context.state.sliceDoc(Math.max(0, from - 1), from) === ".") return null;
    const piece = pieceAt(split(context.state.doc.toString()), context.pos);
    const columns = columnsInScope(piece?.text ?? "", completion, namespace);
    const options: Offer[] = columns.map((column) => ({
      label: column.name,
      type: "property",
      detail: `${column.type} · ${column.table}`,
      boost: 30,
    }));
    return { from, options: [...options, ...functions], validFor: /^[\w$]*$/ };
  };
}

/** Trino's SQL with the words and names that this user has. */
export function language(completion: Completion | undefined, namespace: string | null): Extension {
  const dialect = SQLDialect.define({
    keywords: (completion?.keywords ?? []).join(" ").toLowerCase() || undefined,
    types: BUILTIN_TYPES,
    builtin: (completion?.functions ?? []).join(" ").toLowerCase(),
    doubleQuotedStrings: false,
    hashComments: false,
    identifierQuotes: '"',
  });
  const schema = Object.fromEntries(
    (completion?.namespaces ?? []).map((one) => [
      one.name,
      Object.fromEntries(
        one.tables.map((table) => [
          table.name,
          Object.entries(table.columns).map(([label, detail]) => ({
            label,
            detail,
            type: "property",
          })),
        ]),
      ),
    ]),
  );
  const support = sql({ dialect, upperCaseKeywords: true });
  const sources = [
    schemaCompletionSource({ dialect, schema, defaultSchema: namespace ?? undefined }),
    keywordCompletionSource(dialect, true),
    ...(completion ? [scopeSource(completion, namespace)] : []),
  ];
  return [
    support.language,
    autocompletion({ override: sources, icons: false, maxRenderedOptions: 60 }),
  ];
}

export interface EditorCommands {
  run: () => void;
  format: () => void;
  save: () => void;
  cancel: () => void;
}

export const languageSlot = new Compartment();

export function extensions(
  label: string,
  commands: EditorCommands,
  onChange: (text: string) => void,
) {
  const bound = (command: () => void) => () => {
    command();
    return true;
  };
  return [
    lineNumbers(),
    highlightActiveLineGutter(),
    highlightActiveLine(),
    history(),
    drawSelection(),
    indentOnInput(),
    bracketMatching(),
    closeBrackets(),
    highlightSelectionMatches(),
    EditorView.lineWrapping,
    syntaxHighlighting(COLORS),
    THEME,
    placeholder("SELECT …"),
    EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" }),
    Prec.highest(
      keymap.of([
        {
          key: "Mod-Enter",
          run: (view) => {
            closeCompletion(view);
            commands.run();
            return true;
          },
        },
        { key: "Mod-Shift-f", run: bound(commands.format) },
        { key: "Mod-s", run: bound(commands.save) },
        { key: "Mod-Shift-x", run: bound(commands.cancel) },
      ]),
    ),
    keymap.of([
      ...closeBracketsKeymap,
      ...defaultKeymap.filter((one) => one.key !== "Mod-Enter"),
      ...searchKeymap,
      ...historyKeymap,
      ...completionKeymap,
      indentWithTab,
    ]),
    EditorView.updateListener.of((update) => {
      if (update.docChanged) onChange(update.state.doc.toString());
    }),
  ];
}
