"""The certificate that Content Credentials are signed with, and its private key."""

import contextlib
import errno
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

DEVELOPMENT_NAME = "Visiona development"

# As the C2PA specification names the purpose of certificates that sign claims.
_CLAIM_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
_YEARS = timedelta(days=3650)
_ALGORITHMS = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


class UnusableCertificate(ValueError):
    """The certificate or its key cannot be used; the message says why, and shows neither."""


@dataclass(frozen=True, slots=True)
class SigningKit:
    """What it takes to sign: `chain` and `key` in PEM, the signer's own certificate first.

    `trusted` are certificates in PEM of authorities whose signatures are believed too. A
    `timestamp_url` is asked to witness the time of each signature (RFC 3161).
    """

    algorithm: str
    chain: str
    key: str = field(repr=False)
    names: tuple[str, str]
    trusted: str = ""
    timestamp_url: str | None = None


def signing_kit(chain: str, key: str, *, trusted: str = "", timestamp_url: str | None = None) -> SigningKit:
    """The kit of a certificate chain and its key in PEM. Raises `UnusableCertificate`."""
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
        private_key = serialization.load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UnusableCertificate("it is not in PEM, or the key has a password") from error
    leaf = certificates[0]
    if leaf.public_key() != private_key.public_key():
        raise UnusableCertificate("the key is not the one of the first certificate")
    if leaf.not_valid_after_utc < datetime.now(UTC):
        raise UnusableCertificate(f"it was valid until {leaf.not_valid_after_utc:%Y-%m-%d}")
    if leaf.issuer == leaf.subject:
        raise UnusableCertificate("it is signed by itself; C2PA wants one that an authority signed")
    if trusted:
        try:
            x509.load_pem_x509_certificates(trusted.encode())
        except ValueError as error:
            raise UnusableCertificate("the trusted certificates are not in PEM") from error
    return SigningKit(
        algorithm=_algorithm(private_key),
        chain=chain,
        key=key,
        names=(_name(leaf, NameOID.ORGANIZATION_NAME), _name(leaf, NameOID.COMMON_NAME)),
        trusted=trusted,
        timestamp_url=timestamp_url,
    )


def development_kit(folder: Path, *, trusted: str = "", timestamp_url: str | None = None) -> SigningKit:
    """The development certificate of this data folder, made when first asked for.

    Whoever comes first makes it: the file appears whole or not at all.
    """
    path = folder / "provenance" / "development.pem"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        chain, key = make_certificate(DEVELOPMENT_NAME)
        draft = path.with_name(f".{secrets.token_hex(8)}")
        _write_private(draft, key + chain)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    key, mark, chain = path.read_text().partition("-----BEGIN CERTIFICATE-----")
    return signing_kit(mark + chain, key, trusted=trusted, timestamp_url=timestamp_url)


def trust_of(kit: SigningKit) -> dict[str, Any]:
    """What reading needs of a kit: nothing of it is secret."""
    leaf, mark, authorities = kit.chain.partition("-----END CERTIFICATE-----\n")
    return {
        "allowed_list": leaf + mark,
        "trust_anchors": authorities + kit.trusted,
        "names": list(kit.names),
    }


def write_certificate(organization: str, folder: Path) -> tuple[Path, Path]:
    """Two new files, certificate chain and private key. Raises `FileExistsError` before writing any."""
    paths = folder / "c2pa-certificate.pem", folder / "c2pa-private-key.pem"
    for path in paths:
        if path.exists():
            raise FileExistsError(errno.EEXIST, "there is such a file", str(path))
    for path, text in zip(paths, make_certificate(organization), strict=True):
        _write_private(path, text)
    return paths


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def make_certificate(organization: str) -> tuple[str, str]:
    """A new chain (certificate, then its authority's) and private key in PEM, valid for ten years.

    The authority's own key is forgotten: it signs nothing else.
    """
    authority, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, leaf_name = _subject(organization, "root"), _subject(organization, "Content Credentials")
    usages = x509.ExtendedKeyUsage([_CLAIM_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION])
    root = _certificate(root_name, authority, root_name, authority, is_authority=True)
    signer = _certificate(leaf_name, leaf, root_name, authority, is_authority=False)
    certificates = (
        signer.add_extension(usages, critical=False).sign(authority, hashes.SHA256()),
        root.sign(authority, hashes.SHA256()),
    )
    chain = "".join(
        certificate.public_bytes(serialization.Encoding.PEM).decode() for certificate in certificates
    )
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return chain, key.decode()


def _subject(organization: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organization} {role}"),
        ]
    )


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    authority: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.CertificateBuilder:
    begins = datetime.now(UTC) - timedelta(days=1)  # clocks elsewhere may be behind
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + _YEARS)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True
        )
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        )
    )


def _algorithm(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _ALGORITHMS:
        return _ALGORITHMS[key.curve.name]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    raise UnusableCertificate("its key is of no kind that C2PA takes: P-256, P-384, P-521, Ed25519 or RSA")


def _name(certificate: x509.Certificate, what: ObjectIdentifier) -> str:
    found = certificate.subject.get_attributes_for_oid(what)
    return str(found[0].value) if found else ""
