"""A Django program that sends by django-anymail, in a process of its own: argv: base URL, key, which message."""

import json
import sys
import warnings
from datetime import UTC, datetime

warnings.simplefilter("ignore")

from django.conf import settings  # noqa: E402

settings.configure()

from anymail.backends.mailgun import EmailBackend  # noqa: E402
from anymail.exceptions import AnymailAPIError  # noqa: E402
from anymail.message import AnymailMessage, attach_inline_image  # noqa: E402

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def everything(domain):
    message = AnymailMessage("Grüße", "Text", f"Ann <ann@{domain}>", ["Bob <bob@example.net>"])
    message.cc, message.bcc, message.reply_to = ["cy@example.net"], ["dan@example.net"], ["r@example.net"]
    cid = attach_inline_image(message, PNG, filename="logo.png")
    message.attach_alternative(f'<img src="cid:{cid}">', "text/html")
    message.attach("ä.txt", "attached", "text/plain")
    message.extra_headers = {"X-Own": "yes"}
    message.metadata, message.tags = {"order": 7}, ["one", "two"]
    message.track_opens, message.track_clicks = True, False
    return message


def later(domain):
    message = AnymailMessage("Hi", "Text", f"ann@{domain}", ["a@x.org"])
    message.send_at = datetime.fromtimestamp(float(sys.argv[4]), UTC)
    return message


def batch(domain):
    message = AnymailMessage("Hi", "Hello %recipient.name%", f"ann@{domain}", ["a@x.org", "b@x.org"])
    message.merge_data = {"a@x.org": {"name": "A"}, "b@x.org": {"name": "B"}}
    message.merge_metadata = {"a@x.org": {"order": 1}, "b@x.org": {"order": 2}}
    return message


def main():
    base, key, which = sys.argv[1:4]
    message = {"everything": everything, "later": later, "batch": batch}[which.partition("@")[0]](
        which.partition("@")[2]
    )
    try:
        EmailBackend(api_key=key, api_url=f"{base}/v3/").send_messages([message])
    except AnymailAPIError as error:
        print(json.dumps({"error": str(error)}))
    else:
        status = message.anymail_status
        print(json.dumps({"status": sorted(status.status), "id": status.message_id}))


main()
