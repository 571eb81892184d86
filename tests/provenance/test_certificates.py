"""Certificates: made once, told from each other, refused where they cannot sign."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from tests.provenance.conftest import kit
from typer.testing import CliRunner

from visiona.adapters.provenance import (
    UnusableCertificate,
    development_kit,
    make_certificate,
    signing_kit,
)
from visiona.entrypoints.cli import build_app


def test_the_development_certificate_is_made_once(tmp_path: Path) -> None:
    """However many processes begin at once."""
    with ThreadPoolExecutor(8) as pool:
        kits = list(pool.map(lambda _: development_kit(tmp_path), range(8)))
    assert len({kit.chain for kit in kits}) == 1
    [path] = (tmp_path / "provenance").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kits[0].names == ("Visiona development", "Visiona development Content Credentials")
    [leaf, root] = x509.load_pem_x509_certificates(kits[0].chain.encode())
    leaf.verify_directly_issued_by(root)
    assert leaf.not_valid_after_utc.year - datetime.now(UTC).year in {9, 10}


def test_no_key_shows() -> None:
    assert "PRIVATE" not in repr(kit())


def test_what_cannot_sign_is_refused() -> None:
    chain, key = make_certificate("One")
    _, other_key = make_certificate("Other")
    root = chain[chain.index("-----BEGIN", 10) :]
    for certificate, private_key, why in (
        ("nothing", key, "not in PEM"),
        (chain, other_key, "not the one of the first certificate"),
        (root, key, "not the one of the first certificate"),
    ):
        with pytest.raises(UnusableCertificate, match=why) as refused:
            signing_kit(certificate, private_key)
        assert "BEGIN" not in str(refused.value)


def test_an_operator_makes_one(tmp_path: Path) -> None:
    arguments = ["provenance", "certificate", "--name", "Studio Ana", "--folder", str(tmp_path)]
    made = CliRunner().invoke(build_app(), arguments)
    assert made.exit_code == 0, made.output
    chain, key = tmp_path / "c2pa-certificate.pem", tmp_path / "c2pa-private-key.pem"
    assert signing_kit(chain.read_text(), key.read_text()).names[0] == "Studio Ana"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = CliRunner().invoke(build_app(), arguments)
    assert again.exit_code == 1
    assert "is there already" in again.output
