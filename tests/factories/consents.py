"""Consents of tests, over HTTP and by SQL: without one, no photo is taken in."""

import httpx

from visiona.consents.model import current_text

OWN = """insert into consents (id, user_id, subject, state, version, text_sha256, name, client, answered_at)
  values (gen_random_uuid(), %(user)s, 'self', 'given', visiona.consent_version(),
    decode(repeat('ab', 32), 'hex'), '\\xf8', '\\xf8', now())"""
"""Somebody's consent to the use of their own face, as the application's role or the superuser."""

GIVEN = "(select c.id from consents c where c.user_id = %s and c.state = 'given' limit 1)"
"""The id of it, in the SQL of a row that hangs on it; takes the person's id."""


def signed(name: str = "Test Person") -> dict[str, object]:
    """What POST /api/consents takes."""
    return {"version": current_text().version, "name": name, "adult": True, "agreed": True}


def give(http: httpx.Client, name: str = "Test Person") -> None:
    """For whoever `http` is signed in as."""
    answer = http.post("/api/consents", json=signed(name))
    assert answer.status_code == 201, answer.text
