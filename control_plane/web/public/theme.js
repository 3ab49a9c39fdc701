// Before the first paint, so that a dark page never flashes light. A file of its own: no inline script passes
// the Content-Security-Policy.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("lab.theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  const dark =
    chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.classList.toggle("dark", dark);
})();
