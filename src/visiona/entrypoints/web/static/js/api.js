// The JSON API of this server, with its problem documents as errors.

const RETRY_PAUSES = [600, 1800];

/** A failed request. `status` is 0 when no answer came at all. */
export class Problem extends Error {
  constructor(status, body = {}) {
    super(body.detail || "Something went wrong. Try again in a moment.");
    this.status = status;
    this.code = body.code ?? "unknown";
    this.detail = this.message;
    this.errors = body.errors ?? [];
    this.body = body;
  }

  /** The server decided; sending the same again would give the same. */
  get isFinal() {
    return this.status >= 400 && this.status < 500 && this.status !== 408 && this.status !== 429;
  }
}

const UNREACHABLE = { code: "unreachable", detail: "The server did not answer. Check your connection and try again." };

export function problemFrom(status, text) {
  if (status === 0) return new Problem(0, UNREACHABLE);
  try {
    return new Problem(status, JSON.parse(text));
  } catch {
    return new Problem(status);
  }
}

/** Where an expired session goes: to log in, and back here. */
export function logInAgain() {
  const here = location.pathname + location.search + location.hash;
  location.assign(`/login?next=${encodeURIComponent(here)}`);
}

export async function request(method, path, { body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw problemFrom(0, "");
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  if (response.status === 401) logInAgain();
  throw problemFrom(response.status, await response.text());
}

export const get = (path) => request("GET", path);
export const post = (path, body) => request("POST", path, { body });
export const remove = (path) => request("DELETE", path);

// crypto.randomUUID exists only on https and localhost; a server in the home network has neither.
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * A POST that spends. Until the server has decided, every attempt with the same body carries the
 * same idempotency key, so that a lost answer never costs twice.
 */
export class SpendingPost {
  #path;
  #sent = "";
  #key = "";

  constructor(path) {
    this.#path = path;
  }

  async send(body) {
    const text = JSON.stringify(body);
    if (text !== this.#sent) {
      this.#sent = text;
      this.#key = newKey();
    }
    const headers = { "Idempotency-Key": this.#key };
    for (const wait of [...RETRY_PAUSES, null]) {
      try {
        const result = await request("POST", this.#path, { body, headers });
        this.#sent = "";
        return result;
      } catch (problem) {
        if (problem.isFinal) this.#sent = "";
        if (problem.isFinal || problem.status === 429 || wait === null) throw problem;
        await pause(wait);
      }
    }
  }
}
