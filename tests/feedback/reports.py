"""The samples of reports, and the classifier with the rules we ship."""

from pathlib import Path

from mtad.feedback.classify import Classifier, load_rules
from mtad.feedback.incoming import Incoming
from mtad.feedback.reading import read_incoming

SAMPLES = Path(__file__).parent / "samples" / "incoming"
_FILE = Path(__file__).resolve().parents[2] / "conf" / "bounces.toml"
CLASSIFIER = Classifier(load_rules(_FILE.read_text(encoding="utf-8"), str(_FILE)))


def sample(name: str) -> bytes:
    """As it would come over SMTP: CRLF line ends."""
    return (SAMPLES / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")


def read(content: bytes) -> Incoming:
    """With the reverse-path that its Return-Path names."""
    return read_incoming(content, CLASSIFIER, content.startswith(b"Return-Path: <>"))
