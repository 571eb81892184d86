"""Small servers that speak the published protocols of key management services, and can be made to fail."""

import base64
import hashlib
import hmac
import json
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
RESOURCE = "projects/visiona/locations/europe/keyRings/people/cryptoKeys/master"
PATH = "transit/keys/visiona"
ACCESS_KEY, SECRET_KEY, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "hvs.token"


@dataclass
class Kms:
    """One of the services; `failures` are (status, body) of the next answers, `asked` the bodies so far."""

    cipher: AESGCM = field(default_factory=lambda: AESGCM(AESGCM.generate_key(256)))
    failures: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    base: str = ""

    def encrypt(self, plain: bytes, about: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self.cipher.encrypt(nonce, plain, about)

    def decrypt(self, sealed: bytes, about: bytes) -> bytes | None:
        try:
            return self.cipher.decrypt(sealed[:12], sealed[12:], about)
        except (InvalidTag, ValueError):
            return None


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def aws(kms: Kms, headers: Any, path: str, body: bytes) -> tuple[int, Any]:
    if path != "/" or headers["Authorization"] != signature_of(headers, body):
        return 400, {"__type": "InvalidSignatureException"}
    asked = json.loads(body)
    about = json.dumps([asked["KeyId"], asked["EncryptionContext"]]).encode()
    if asked["KeyId"] != ARN:
        return 400, {"__type": "com.amazonaws.kms#NotFoundException", "message": "a sentence"}
    if headers["X-Amz-Target"] == "TrentService.Encrypt":
        return 200, {"KeyId": ARN, "CiphertextBlob": encoded(kms.encrypt(decoded(asked["Plaintext"]), about))}
    plain = kms.decrypt(decoded(asked["CiphertextBlob"]), about)
    if plain is None:
        return 400, {"__type": "InvalidCiphertextException"}
    return 200, {"KeyId": ARN, "Plaintext": encoded(plain)}


def signature_of(headers: Any, body: bytes) -> str:
    """Signature Version 4, from its description."""
    given = headers["Authorization"]
    signed = given.split("SignedHeaders=")[1].split(",")[0]
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in signed.split(";"))
    digest = hashlib.sha256(body).hexdigest()
    request = hashlib.sha256(f"POST\n/\n\n{lines}\n{signed}\n{digest}".encode()).hexdigest()
    moment = headers["X-Amz-Date"]
    scope = f"{moment[:8]}/eu-central-1/kms/aws4_request"
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{request}"
    proof = hmac.new(key, text.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, Signature={proof}"


def gcp(kms: Kms, _: Any, path: str, body: bytes) -> tuple[int, Any]:
    asked = json.loads(body)
    name, _, action = path.partition("?")[0].removeprefix("/v1/").rpartition(":")
    if name != RESOURCE:
        return 404, {"error": {"code": 404, "message": "a sentence", "status": "NOT_FOUND"}}
    about = decoded(asked["additionalAuthenticatedData"])
    if action == "encrypt":
        sealed = kms.encrypt(decoded(asked["plaintext"]), about)
        return 200, {"name": f"{RESOURCE}/cryptoKeyVersions/1", "ciphertext": encoded(sealed)}
    plain = kms.decrypt(decoded(asked["ciphertext"]), about)
    if plain is None:
        return 400, {"error": {"code": 400, "message": "Decryption failed", "status": "INVALID_ARGUMENT"}}
    return 200, {"plaintext": encoded(plain)}


def hashicorp(kms: Kms, headers: Any, path: str, body: bytes) -> tuple[int, Any]:
    asked = json.loads(body)
    if headers["X-Vault-Token"] != TOKEN:
        return 403, {"errors": ["permission denied"]}
    about = decoded(asked["associated_data"])
    if path == "/v1/transit/encrypt/visiona":
        return 200, {
            "data": {"ciphertext": f"vault:v1:{encoded(kms.encrypt(decoded(asked['plaintext']), about))}"}
        }
    if path != "/v1/transit/decrypt/visiona":
        return 404, {"errors": []}
    plain = kms.decrypt(decoded(asked["ciphertext"].removeprefix("vault:v1:")), about)
    if plain is None:
        return 400, {"errors": ["cipher: message authentication failed"]}
    return 200, {"data": {"plaintext": encoded(plain)}}


PROTOCOLS = {"aws": aws, "gcp": gcp, "vault": hashicorp}


@contextmanager
def served(protocol: str) -> Generator[Kms]:
    kms = Kms()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kms.asked.append(json.loads(body))
            if kms.failures:
                status, answer = kms.failures.pop(0)
            else:
                status, answer = PROTOCOLS[protocol](kms, self.headers, self.path, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status in {307, 308}:
                self.send_header("Location", answer)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        kms.base = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
        thread.start()
        try:
            yield kms
        finally:
            server.shutdown()
            thread.join()
