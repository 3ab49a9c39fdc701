import "./styles.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { watchInput } from "./lib/idle";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no element #root");
watchInput();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
