"""dkimpy as the other side: its parsing and canonicalisation, and the arithmetic of `cryptography`.

dkimpy's Ed25519 needs PyNaCl, which mtad does not use, so the last step of that one is done here.
"""

import base64

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519


class _Ed25519Key:
    """What dkimpy expects of a key; `valid` is the verdict."""

    def __init__(self, record: str) -> None:
        octets = base64.b64decode(record.partition("p=")[2])
        self._key, self.valid = ed25519.Ed25519PublicKey.from_public_bytes(octets), False

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
            self.valid = True
        except InvalidSignature:
            self.valid = False


class _Verifier(dkim.DKIM):
    def __init__(self, message: bytes, records: dict[str, str]) -> None:
        super().__init__(message, minkey=1024)
        self.records = records

    def verify_sig(self, sig, include_headers, sig_header, dnsfunc):
        record = self.records[f"{sig[b's'].decode()}._domainkey.{sig[b'd'].decode()}"]
        if "k=rsa" in record:
            return super().verify_sig(sig, include_headers, sig_header, lambda name, timeout=5: record.encode())
        self.pk, self.keysize, self.ktag, self.seqtlsrpt = _Ed25519Key(record), 256, b"ed25519", False
        self.verify_sig_process(sig, include_headers, sig_header, None)
        return self.pk.valid


def verify(message: bytes, records: dict[str, str], index: int = 0) -> bool:
    """records: "selector._domainkey.domain" -> TXT record. index: which DKIM-Signature, from the top."""
    try:
        return bool(_Verifier(message, records).verify(idx=index))
    except dkim.ValidationError:
        return False
