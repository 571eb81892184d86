"""Writing and reading Content Credentials with the C2PA project's own library.

Runs in children only: the library starts threads, and what it reads is a stranger's.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import c2pa

from visiona.adapters.provenance.certificates import SigningKit
from visiona.ports.provenance import Credentials, Signer

GENERATOR = "Visiona"
TITLE = "Visiona image"
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_SAYS_AI = re.compile(r"digitalsourcetype/(trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia)$")
# Failures that mean: what is there is not what was signed.
_CHANGES = re.compile(r"\.mismatch$|^assertion\.(missing|dataHash|boxesHash|bmffHash)")
_NAME_LENGTH = 120

# A file may name addresses to fetch the rest of its credentials from; nobody goes there.
_OFFLINE: Mapping[str, Any] = {
    "core": {"allowed_network_hosts": []},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
# Making a thumbnail would mean decoding the picture, and nobody needs two of them.
_PLAIN: Mapping[str, Any] = {"builder": {"thumbnail": {"enabled": False}}}


def sign(path: Path, target: Path, media_type: str, kit: SigningKit, version: str) -> None:
    """Write the image at `path` to `target` with credentials that say: made by a trained model.

    They name Visiona and its version, and nothing about the person or the picture.
    """
    agent = {"name": GENERATOR, "version": version}
    created = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgent": agent}
    manifest = {
        "claim_generator_info": [agent],
        "title": TITLE,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    info = c2pa.C2paSignerInfo(
        kit.algorithm.encode(),
        kit.chain.encode(),
        kit.key.encode(),
        kit.timestamp_url.encode() if kit.timestamp_url else None,
    )
    with (
        c2pa.Context(c2pa.Settings.from_dict(dict(_PLAIN))) as context,
        c2pa.Signer.from_info(info) as signer,
        path.open("rb") as source,
        target.open("w+b") as signed,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        builder.sign(signer, media_type, source, signed)


def read(path: Path, media_type: str, trust: Mapping[str, Any]) -> dict[str, Any]:
    """What the credentials of a file say, and whether that holds. `trust` is `trust_of` a kit."""
    settings = {**_OFFLINE, "trust": {key: trust[key] for key in ("trust_anchors", "allowed_list")}}
    try:
        with c2pa.Context(c2pa.Settings.from_dict(settings)) as context, path.open("rb") as file:
            reader = c2pa.Reader.try_create(media_type, file, context=context)
            if reader is None:
                return _answer(Credentials.NONE)
            with reader:
                return _described(json.loads(reader.json()), tuple(trust["names"]))
    except c2pa.C2paError:
        return _answer(Credentials.UNVERIFIABLE)


def _described(store: dict[str, Any], own_names: tuple[str, ...]) -> dict[str, Any]:
    state: str = store.get("validation_state", "Invalid")
    if state == "Invalid":
        failures: list[Any] = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
        changed = any(_CHANGES.search(failure["code"]) for failure in failures)
        return _answer(Credentials.CHANGED if changed else Credentials.UNVERIFIABLE)
    active: dict[str, Any] = store["manifests"][store["active_manifest"]]
    signature: dict[str, Any] = active.get("signature_info", {})
    names = (str(signature.get("issuer") or ""), str(signature.get("common_name") or ""))
    signer = Signer.UNKNOWN
    if state == "Trusted":
        signer = Signer.OURS if names == own_names else Signer.TRUSTED
    generators: list[dict[str, Any]] = active.get("claim_generator_info") or [{}]
    return _answer(
        Credentials.VALID,
        signer=signer,
        signer_name=_short(names[1] or names[0]),
        generator=_short(str(generators[0].get("name") or "")),
        signed_as_ai=any(_SAYS_AI.search(kind) for kind in _source_types(store)),
    )


def _answer(
    credentials: Credentials,
    *,
    signer: Signer | None = None,
    signer_name: str = "",
    generator: str = "",
    signed_as_ai: bool = False,
) -> dict[str, Any]:
    return {
        "credentials": credentials,
        "signer": signer,
        "signer_name": signer_name,
        "generator": generator,
        "signed_as_ai": signed_as_ai,
    }


def _source_types(store: dict[str, Any]) -> Iterable[str]:
    """Of every action on record, those of the images it was made from included."""
    for manifest in store["manifests"].values():
        for assertion in manifest.get("assertions", []):
            if str(assertion.get("label", "")).startswith("c2pa.actions"):
                for action in assertion["data"].get("actions", []):
                    yield str(action.get("digitalSourceType", ""))


def _short(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_NAME_LENGTH]
