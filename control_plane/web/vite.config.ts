import { fileURLToPath } from "node:url";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The console's back end while somebody works on these pages: `./lab credentials` shows its address. */
const backEnd = process.env.CONSOLE_URL;

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    target: "es2023",
    // Neither a style nor a script in the page itself: the Content-Security-Policy refuses both.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
  },
  server: {
    host: "127.0.0.1",
    proxy: backEnd ? { "/api": backEnd, "/auth": backEnd } : {},
  },
});
