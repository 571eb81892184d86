// Sending files: small batches, progress by file, and the server's verdict on each.

import { logInAgain, problemFrom } from "./api.js";

const FILES_PER_BATCH = 3;
const TYPES = /\.(jpe?g|png|webp|hei[cf])$/i;

/** Why a file need not even be sent, or null. */
export function refusal(file, limits) {
  if (!TYPES.test(file.name) && !/^image\/(jpeg|png|webp|hei[cf])$/.test(file.type)) {
    return "This is not a photo that can be used. Choose JPEG, PNG, WebP or HEIC.";
  }
  if (file.size === 0) return "This file is empty.";
  if (file.size > limits.upload_max_mb * 1024 * 1024) return `This file is larger than ${limits.upload_max_mb} MB.`;
  return null;
}

/** Entries `{ file }` in groups that go together. */
export function batches(entries, limits) {
  const size = Math.min(FILES_PER_BATCH, limits.files_per_request);
  const result = [];
  for (let start = 0; start < entries.length; start += size) result.push(entries.slice(start, start + size));
  return result;
}

/**
 * What a file is called on its way: verdicts come back by name, so names are plain and unique. What the
 * person's device called it is nobody's business.
 */
function sentName(file, index) {
  const extension = TYPES.exec(file.name)?.[0].toLowerCase() ?? "";
  return `photo-${index + 1}${extension}`;
}

/** How much of each file has gone, given the bytes of the whole body; `onFile(entry, share)`. */
function shareOut(batch, loaded, onFile) {
  let before = 0;
  for (const entry of batch) {
    const share = (loaded - before) / Math.max(entry.file.size, 1);
    onFile(entry, Math.min(Math.max(share, 0), 1));
    before += entry.file.size;
  }
}

function send(batch, onFile) {
  const form = new FormData();
  batch.forEach(({ file }, index) => form.append("photos", file, sentName(file, index)));
  return new Promise((resolve, reject) => {
    // fetch cannot tell how much has been sent.
    const xhr = new XMLHttpRequest();
    const consent = document.querySelector("#photo-consent")?.value;
    xhr.open("POST", consent ? `/api/photos/upload?consent=${consent}` : "/api/photos/upload");
    xhr.setRequestHeader("Accept", "application/json");
    xhr.upload.addEventListener("progress", (event) => shareOut(batch, event.loaded, onFile));
    xhr.upload.addEventListener("load", () => shareOut(batch, Infinity, onFile));
    xhr.addEventListener("load", () => {
      if (xhr.status === 201) resolve(JSON.parse(xhr.responseText));
      else if (xhr.status === 401) logInAgain();
      else reject(problemFrom(xhr.status, xhr.responseText));
    });
    xhr.addEventListener("error", () => reject(problemFrom(0, "")));
    xhr.send(form);
  });
}

/** Pairs each entry of a batch with its accepted photo or its rejection. */
function verdicts(batch, { photos = [], rejected = [] }) {
  const refused = new Map(rejected.map((item) => [item.filename, item]));
  const accepted = [...photos];
  return batch.map((entry, index) => {
    const rejection = refused.get(sentName(entry.file, index));
    if (rejection) return { entry, message: rejection.message };
    const photo = accepted.shift();
    return photo ? { entry, photo } : { entry, message: "The server did not say what became of this file. Try it again." };
  });
}

/** Where every file was refused the answer is a problem document, with the reasons in it. */
function refusedVerdicts(batch, problem) {
  if (problem.body?.rejected) return verdicts(batch, { rejected: problem.body.rejected });
  return batch.map((entry, index) => {
    const error = problem.errors.find(({ field }) => field === `photos[${index}]`);
    return { entry, message: error?.message ?? problem.detail };
  });
}

/** Sends one batch; never throws. `onFile(entry, share)` hears of progress. */
export async function upload(batch, onFile) {
  try {
    return verdicts(batch, await send(batch, onFile));
  } catch (problem) {
    return refusedVerdicts(batch, problem);
  }
}
