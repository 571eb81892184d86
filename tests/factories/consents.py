"""Consents of tests, over HTTP and by SQL: without one, no photo is taken in."""

import httpx

from visiona.consents.model import current_text
from visiona.vault.model import Cipher

OWN = """insert into consents (id, user_id, subject, state, version, text_sha256, name, client, answered_at)
  values (gen_random_uuid(), %(user)s, 'self', 'given', visiona.consent_version(),
    decode(repeat('ab', 32), 'hex'), %(name)s, %(client)s, now())"""


def own(cipher: Cipher) -> dict[str, object]:
    """The parameters of `OWN`: the consent of the cipher's person to the use of their own face."""
    return {
        "user": cipher.user_id,
        "name": cipher.seal("consents.name", "Test Person"),
        "client": cipher.seal("consents.client", "127.0.0.1"),
    }


GIVEN = "(select c.id from consents c where c.user_id = %s and c.state = 'given' limit 1)"
"""The id of it, in the SQL of a row that hangs on it; takes the person's id."""


def signed(name: str = "Test Person") -> dict[str, object]:
    """What POST /api/consents takes."""
    return {"version": current_text().version, "name": name, "adult": True, "agreed": True}


def give(http: httpx.Client, name: str = "Test Person") -> None:
    """For whoever `http` is signed in as."""
    answer = http.post("/api/consents", json=signed(name))
    assert answer.status_code == 201, answer.text
