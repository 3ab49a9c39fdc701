import { type Diagnostic, setDiagnostics } from "@codemirror/lint";
import { EditorState } from "@codemirror/state";
import { EditorView } from "@codemirror/view";
import { type Ref, useEffect, useImperativeHandle, useRef } from "react";
import type { Completion } from "@/api/types";
import { type EditorCommands, extensions, language, languageSlot } from "./editorsetup";
import { wordEnd } from "./statements";

export interface Mark {
  position: number;
  message: string;
}

export interface EditorHandle {
  selection: () => { from: number; to: number };
  insert: (text: string) => void;
  select: (position: number) => void;
  focus: () => void;
}

/**
 * The SQL editor. It lives in a shadow root: there CodeMirror's styles are constructed style sheets, which a
 * strict Content-Security-Policy allows, while it refuses style elements.
 */
export default function Editor({
  documentKey,
  text,
  onChange,
  commands,
  completion,
  namespace,
  marks,
  ref,
}: {
  /** Another key is another document, with a history of its own. */
  documentKey: string;
  text: string;
  onChange: (text: string) => void;
  commands: EditorCommands;
  completion: Completion | undefined;
  namespace: string | null;
  marks: readonly Mark[];
  ref?: Ref<EditorHandle>;
}) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef({ commands, onChange, text, completion, namespace });
  latest.current = { commands, onChange, text, completion, namespace };

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new document only for a new key
  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const commandsNow: EditorCommands = {
      run: () => latest.current.commands.run(),
      format: () => latest.current.commands.format(),
      save: () => latest.current.commands.save(),
      cancel: () => latest.current.commands.cancel(),
    };
    const made = new EditorView({
      state: EditorState.create({
        doc: latest.current.text,
        extensions: [
          extensions("SQL", commandsNow, (value) => latest.current.onChange(value)),
          languageSlot.of(language(latest.current.completion, latest.current.namespace)),
        ],
      }),
      parent: root,
      root,
    });
    made.dom.style.height = "100%";
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, [documentKey]);

  useEffect(() => {
    view.current?.dispatch({
      effects: languageSlot.reconfigure(language(completion, namespace)),
    });
  }, [completion, namespace]);

  useEffect(() => {
    const editor = view.current;
    // What was set from outside: formatted, or opened from the list of saved queries.
    if (editor !== null && editor.state.doc.toString() !== text) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: text } });
    }
  }, [text]);

  useEffect(() => {
    const editor = view.current;
    if (editor === null) return;
    const content = editor.state.doc.toString();
    const diagnostics: Diagnostic[] = marks.map((mark) => {
      const from = Math.min(mark.position, content.length);
      return { from, to: wordEnd(content, from), severity: "error", message: mark.message };
    });
    editor.dispatch(setDiagnostics(editor.state, diagnostics));
  }, [marks]);

  useImperativeHandle(ref, () => ({
    selection: () => {
      const main = view.current?.state.selection.main;
      return { from: main?.from ?? 0, to: main?.to ?? 0 };
    },
    insert: (inserted) => {
      const editor = view.current;
      if (editor === null) return;
      editor.dispatch(editor.state.replaceSelection(inserted));
      editor.focus();
    },
    select: (position) => {
      const editor = view.current;
      if (editor === null) return;
      const at = Math.min(position, editor.state.doc.length);
      editor.dispatch({
        selection: { anchor: at },
        effects: EditorView.scrollIntoView(at, { y: "center" }),
      });
      editor.focus();
    },
    focus: () => view.current?.focus(),
  }));

  return <div ref={host} data-editor="" className="h-full min-h-0 overflow-hidden" />;
}
