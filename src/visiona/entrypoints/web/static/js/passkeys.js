// Passkeys: logging in with one, showing with one that it is you, and adding one.

import { problemFrom } from "./api.js";
import { one, show } from "./dom.js";
import { whileBusy } from "./forms.js";

const NOT_DONE = "The browser did not finish. Try again when you are ready.";

function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}

function text(buffer) {
  if (!buffer) return null;
  const plain = String.fromCharCode(...new Uint8Array(buffer));
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const known = (credentials = []) => credentials.map((one) => ({ ...one, id: bytes(one.id) }));

/** The answer of an authenticator as the API takes it; browsers before 2025 cannot write it themselves. */
function written(credential) {
  const { response } = credential;
  const parts = { clientDataJSON: text(response.clientDataJSON) };
  if (response.attestationObject) {
    parts.attestationObject = text(response.attestationObject);
    parts.transports = response.getTransports?.() ?? [];
  } else {
    parts.authenticatorData = text(response.authenticatorData);
    parts.signature = text(response.signature);
    parts.userHandle = text(response.userHandle);
  }
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
    response: parts,
  };
}

async function send(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw problemFrom(0, "");
  }
  const answer = await response.text();
  if (!response.ok) throw problemFrom(response.status, answer);
  return answer ? JSON.parse(answer) : null;
}

/** Asks for a passkey as `path` wants it, and shows it there. */
async function prove(path) {
  const options = await send(`${path}/options`);
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: known(options.allowCredentials) };
  const credential = await navigator.credentials.get({ publicKey });
  await send(path, { credential: written(credential) });
}

async function add(name) {
  const options = await send("/api/account/passkeys/options");
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: known(options.excludeCredentials),
  };
  const credential = await navigator.credentials.create({ publicKey });
  await send("/api/account/passkeys", { credential: written(credential), name });
}

/** What to say of a failure: the server's words, or the browser's in ours. */
function wordsOf(failure) {
  if (failure.code && failure.detail) return failure.errors?.[0]?.message ?? failure.detail;
  if (failure.name === "InvalidStateError") return "This device has a passkey for Visiona already.";
  if (failure.name === "SecurityError") return "Browsers allow no passkeys at this address.";
  return NOT_DONE;
}

function tell(root, message) {
  const place = one('[data-slot="problem"]', root);
  place.textContent = message;
  show(place, Boolean(message));
}

/** The panel's button proves by passkey who is there, and goes on. */
function takeOverProving(panel, path) {
  show(panel, true);
  const button = one("button", panel);
  button.addEventListener("click", () =>
    whileBusy(button, async () => {
      tell(panel, "");
      try {
        await prove(path);
        location.assign(panel.dataset.next || "/studio");
      } catch (failure) {
        tell(panel, wordsOf(failure));
      }
    }),
  );
}

function takeOverAdding(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const input = form.elements.name;
    whileBusy(one('[type="submit"]', form), async () => {
      tell(form, "");
      input.removeAttribute("aria-invalid");
      try {
        await add(input.value);
        location.assign("/account/security?done=passkey#passkeys");
      } catch (failure) {
        if (failure.code === "confirmation_required") {
          location.assign(`/confirm?next=${encodeURIComponent("/account/security#passkeys")}`);
        } else if (failure.status === 401) {
          location.assign(`/login?next=${encodeURIComponent("/account/security#passkeys")}`);
        } else {
          if (failure.errors?.length > 0) input.setAttribute("aria-invalid", "true");
          tell(form, wordsOf(failure));
        }
      }
    });
  });
}

const logIn = one("#passkey-log-in");
const confirming = one("#passkey-confirm");
const adding = one("#passkey-form");
if (window.PublicKeyCredential) {
  if (logIn) takeOverProving(logIn, "/api/auth/passkey");
  if (confirming) takeOverProving(confirming, "/api/auth/confirm/passkey");
  if (adding) takeOverAdding(adding);
} else {
  show(one("#passkeys-unsupported"), true);
  show(adding, false);
}
