"""Send one message to N recipients at N domains: many.py PORT N OCTETS.

It says "ready" when it is connected and begins when it is given a line, so that its own start is not measured.
"""

import smtplib
import sys


def main() -> None:
    port, count, octets = (int(text) for text in sys.argv[1:4])
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=60) as client:
        client.ehlo()
        stream = client.sock
        assert stream is not None
        print("ready", flush=True)
        sys.stdin.readline()
        stream.sendall(b"MAIL FROM:<bench@sender.example>\r\n")
        client.getreply()
        for first in range(0, count, 100):
            some = range(first, min(first + 100, count))
            stream.sendall(b"".join(b"RCPT TO:<user%d@d%d.example>\r\n" % (number, number) for number in some))
            for _ in some:
                code, text = client.getreply()
                if code != 250:
                    raise SystemExit(f"RCPT: {code} {text!r}")
        line = b"x" * 76 + b"\r\n"
        head = b"From: <bench@sender.example>\r\nSubject: one to many\r\n\r\n"
        stream.sendall(b"DATA\r\n")
        client.getreply()
        stream.sendall(head + line * (octets // len(line)) + b".\r\n")
        code, text = client.getreply()
        if code != 250:
            raise SystemExit(f"DATA: {code} {text!r}")


if __name__ == "__main__":
    main()
