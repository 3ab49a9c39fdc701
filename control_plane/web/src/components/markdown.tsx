import MarkdownToJsx from "markdown-to-jsx/react";
import type { ComponentProps, ReactNode } from "react";

/** Addresses that may be followed: http(s), mail, and the console's own pages. */
export function safeHref(href: string | undefined): string | undefined {
  if (href === undefined) return undefined;
  if (/^(https?:|mailto:)/i.test(href)) return href;
  return /^[/#](?!\/)/.test(href) ? href : undefined;
}

function Anchor({ href, children }: { href?: string; children?: ReactNode }) {
  const safe = safeHref(href);
  if (safe === undefined) return <span>{children}</span>;
  return (
    <a href={safe} rel="noreferrer noopener" target={safe.startsWith("/") ? undefined : "_blank"}>
      {children}
    </a>
  );
}

/** Pictures would come from other hosts, which would learn who looks at them: their words stand here. */
function Picture({ alt }: ComponentProps<"img">) {
  return <span>{alt}</span>;
}

/** For texts in which values of tables may stand: what a row calls a link leads nowhere. */
function NoAnchor({ children }: { href?: string; children?: ReactNode }) {
  return <span>{children}</span>;
}

/** Text in Markdown. HTML in it is shown as the text that it is; without `links` an address is text, too. */
export default function Markdown({ text, links = true }: { text: string; links?: boolean }) {
  return (
    <div className="max-w-none text-sm [&_a]:text-primary [&_a]:underline [&_a]:underline-offset-2 [&_blockquote]:border-l-2 [&_blockquote]:pl-3 [&_blockquote]:text-muted-foreground [&_code]:rounded-sm [&_code]:bg-secondary [&_code]:px-1 [&_code]:font-mono [&_code]:text-xs [&_h3]:mb-1 [&_h3]:text-lg [&_h3]:font-semibold [&_h4]:mb-1 [&_h4]:text-base [&_h4]:font-semibold [&_h5]:text-sm [&_h5]:font-semibold [&_li]:my-0.5 [&_ol]:my-1.5 [&_ol]:list-decimal [&_ol]:pl-5 [&_p]:my-1.5 [&_pre]:overflow-auto [&_table]:my-2 [&_td]:border [&_td]:px-2 [&_td]:py-1 [&_th]:border [&_th]:px-2 [&_th]:py-1 [&_ul]:my-1.5 [&_ul]:list-disc [&_ul]:pl-5">
      <MarkdownToJsx
        options={{
          disableParsingRawHTML: true,
          forceBlock: true,
          wrapper: "div",
          overrides: {
            a: links ? Anchor : NoAnchor,
            img: Picture,
            h1: { component: "h3" },
            h2: { component: "h4" },
            h3: { component: "h5" },
          },
        }}
      >
        {text}
      </MarkdownToJsx>
    </div>
  );
}
