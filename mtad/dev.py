"""Dev: `mtad dev`: the daemon with nothing to configure. Nothing leaves the machine unless --relay says so."""

import asyncio
import datetime
import hashlib
import ipaddress
import os
import secrets
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import orjson
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mtad import daemon
from mtad import log as log_module
from mtad.api.operations import Operations
from mtad.api.passwords import new_password
from mtad.api.pointer import remove_pointer, write_pointer
from mtad.config import Config, parse
from mtad.storage import accounts
from mtad.storage.database import StoreError
from mtad.storage.webhooks import set_signing_key

DOMAIN = "sandbox.mtad.test"
LOGIN = f"postmaster@{DOMAIN}"


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The options of `mtad dev`. None: the default."""

    data: Path | None = None
    mx: str | None = None
    submission: str | None = None
    submissions: str | None = None
    http: str | None = None
    relay: str | None = None
    password: str | None = None
    api_key: str | None = None
    ready_file: Path | None = None
    set: tuple[str, ...] = ()


def dev(options: DevOptions) -> None:
    """Run until Ctrl-C or SIGTERM. Raises ConfigError and StoreError."""
    with ExitStack() as stack:
        folder = options.data
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtad-dev-")))
        else:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            except OSError as error:
                raise StoreError(f"cannot make the data folder {folder}: {error.strerror}") from None
        folder = folder.absolute()
        certificate, key = make_certificate(folder)
        config = _config(options, folder, certificate, key)
        log_module.start(config.server.log_level)
        known = _credentials(options, folder)
        guest = _Guest(options, folder, certificate, known)
        try:
            uvloop.run(
                daemon.run(
                    config,
                    lambda: _config(options, folder, certificate, key),
                    guest.ready,
                    capture=not config.delivery.relay,
                    prepare=guest.prepare,
                )
            )
        finally:
            guest.leave()


@dataclass(frozen=True, slots=True)
class _Known:
    password: str
    api_key: str


class _Guest:
    """What dev adds to a daemon: the sandbox domain, its login, the ready file, a few lines for people."""

    def __init__(self, options: DevOptions, folder: Path, certificate: Path, known: _Known) -> None:
        self._options, self._folder, self._certificate, self._known = options, folder, certificate, known
        self._told = False

    async def prepare(self, operations: Operations) -> None:
        if all(domain.name != DOMAIN for domain in await operations.domain_list()):
            await operations.domain_add(DOMAIN, password=self._known.password)
        digest = hashlib.sha256(self._known.api_key.encode()).digest()
        now = datetime.datetime.now(datetime.UTC).timestamp()
        await operations.write(lambda connection: accounts.add_api_key(connection, "dev", digest, now))
        # As with Mailgun, who has the API key can check the signature of a post.
        await operations.write(lambda connection: set_signing_key(connection, self._known.api_key))
        await operations.credential_add(LOGIN, self._known.password)  # and all of it is read anew

    async def ready(self, ready: daemon.Ready) -> None:
        about = {
            "pid": os.getpid(),
            "mx": ready.mx[0] if ready.mx else "",
            "submission": ready.submission[0] if ready.submission else "",
            "submissions": ready.submissions[0] if ready.submissions else "",
            "http": f"http://{ready.http[0]}" if ready.http else "",
            "domain": DOMAIN,
            "login": LOGIN,
            "password": self._known.password,
            "api_key": self._known.api_key,
            "ca_file": str(self._certificate),
            "data": str(self._folder),
        }
        await asyncio.to_thread(self._tell, about)

    def _tell(self, about: dict[str, object]) -> None:
        write_pointer(about)
        self._told = True
        if self._options.ready_file is not None:
            write_whole(self._options.ready_file, orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n")
        relay = self._options.relay
        where = f"Outgoing mail goes to {relay}." if relay else "Outgoing mail is captured: mtad captured list"
        lines = (
            "mtad is ready. " + where,
            f"  SMTP submission  {about['submission']} (STARTTLS), {about['submissions']} (TLS), MX {about['mx']}",
            f"  HTTP             {about['http']} (API, links, /health, /metrics)",
            f"  login            {about['login']}",
            f"  password         {about['password']}",
            f"  API key          {about['api_key']}",
            f"  certificate      {about['ca_file']}",
            f"  data             {about['data']}",
        )
        print("\n".join(lines), flush=True)

    def leave(self) -> None:
        if self._told:
            remove_pointer()
            if self._options.ready_file is not None:
                self._options.ready_file.unlink(missing_ok=True)


def _config(options: DevOptions, folder: Path, certificate: Path, key: Path) -> Config:
    text = resources.files("mtad").joinpath("defaults", "dev.toml").read_text("utf-8")
    quoted = orjson.dumps
    overrides = [
        f"server.data_dir={quoted(str(folder)).decode()}",
        f"smtp.tls_certificate={quoted(str(certificate)).decode()}",
        f"smtp.tls_key={quoted(str(key)).decode()}",
    ]
    for name, value in (
        ("smtp.mx", options.mx),
        ("smtp.submission", options.submission),
        ("smtp.submissions", options.submissions),
        ("http.listen", options.http),
    ):
        if value is not None:
            overrides.append(f"{name}={quoted([value]).decode()}")
    if options.relay is not None:
        overrides += [f"delivery.relay={quoted(options.relay).decode()}", 'delivery.relay_tls="none"']
    return parse(text, "mtad dev", (*overrides, *options.set))


def _credentials(options: DevOptions, folder: Path) -> _Known:
    """Fixed by options, or kept in the data folder from the last time, or new."""
    path = folder / "dev.json"
    kept: dict[str, str] = {}
    try:
        kept = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        kept = {}
    except (OSError, ValueError) as error:
        print(f"mtad dev: {path} cannot be used ({error}); new credentials are made", file=sys.stderr)
    known = _Known(
        options.password or str(kept.get("password") or new_password()),
        options.api_key or str(kept.get("api_key") or "key-" + secrets.token_hex(16)),
    )
    write_whole(path, orjson.dumps({"password": known.password, "api_key": known.api_key}))
    return known


def write_whole(path: Path, content: bytes) -> None:
    """Whoever sees the file sees all of it; only we may read it. Raises StoreError."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(number, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) in the folder: self-signed, for localhost; made when there is none or it ends soon."""
    certificate, key = folder / "dev-cert.pem", folder / "dev-key.pem"
    now = datetime.datetime.now(datetime.UTC)
    try:
        old = x509.load_pem_x509_certificate(certificate.read_bytes())
        if key.exists() and old.not_valid_after_utc > now + datetime.timedelta(days=30):
            return certificate, key
    except (OSError, ValueError):
        old = None
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    names: list[x509.GeneralName] = [x509.DNSName(one) for one in ("localhost", DOMAIN)]
    names += [x509.IPAddress(ipaddress.ip_address(one)) for one in ("127.0.0.1", "::1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=397))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    pem = private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_whole(key, pem)
    write_whole(certificate, made.public_bytes(encoding))
    return certificate, key
