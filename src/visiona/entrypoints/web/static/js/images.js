// Pictures behind signed links. A link runs out after some minutes; a picture that fails to load asks
// for its item again, once, and takes the new link.

import { get } from "./api.js";

const THUMBNAIL_SIDE = 480;

function thumbnailWidth(item) {
  return Math.round(item.width * Math.min(1, THUMBNAIL_SIDE / Math.max(item.width, item.height)));
}

/** Sets a thumbnail, or with `full` a picture that may also use the whole size. */
export function setPicture(img, item, { full = false, sizes = "46vw" } = {}) {
  if (full) {
    img.sizes = sizes;
    img.srcset = `${item.thumbnail_url} ${thumbnailWidth(item)}w, ${item.image_url} ${item.width}w`;
  }
  img.width = item.width;
  img.height = item.height;
  img.src = item.thumbnail_url;
}

/** Keeps `img` alive. `path()` is where its item is found; `apply(item)` puts the new links in. */
export function reviveOnError(img, path, apply) {
  let tried = false;
  const revive = async () => {
    if (tried || !img.getAttribute("src")) return;
    tried = true;
    try {
      apply(await get(path()));
    } catch {
      img.classList.add("is-missing");
    }
  };
  img.addEventListener("error", revive);
  img.addEventListener("load", () => {
    tried = false;
    img.classList.remove("is-missing");
  });
  // It may have failed before this module ran.
  if (img.complete && img.naturalWidth === 0) revive();
}
