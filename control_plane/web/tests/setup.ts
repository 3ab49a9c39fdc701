/** Addresses without a host are the page's own in a browser; here there is none. */
const Plain = globalThis.Request;
globalThis.Request = class extends Plain {
  constructor(input: RequestInfo | URL, init?: RequestInit) {
    super(
      typeof input === "string" && input.startsWith("/") ? `http://console.test${input}` : input,
      init,
    );
  }
};
