"""Content Credentials (C2PA): the certificate to sign with, signing, and reading.

`certificates` runs in Visiona's own processes. `signing` is the process that holds the private key and
sees no stranger's bytes; `credentials` runs in children only, of that one and of the image nursery.
"""

from visiona.adapters.provenance.certificates import (
    SigningKit,
    UnusableCertificate,
    development_kit,
    make_certificate,
    signing_kit,
    write_certificate,
)

__all__ = [
    "SigningKit",
    "UnusableCertificate",
    "development_kit",
    "make_certificate",
    "signing_kit",
    "write_certificate",
]
