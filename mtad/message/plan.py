"""Plan: what one message wants of composition.

Room: message. Pure.
"""

from dataclasses import dataclass, field

from mtad.mail.options import Clicks, Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one message wants, the same for all its recipients.

    footer_html, footer_text: "" none; may hold variables. batch: each recipient's own To, recipient.* filled.
    via_list: recipient.* filled, To as written. user_variables: one X-Mailgun-Variables field. list_unsubscribe: the
    fields are added unless the sender set one. own: what URLs that lead to us begin with; they are not rewritten.
    """

    opens: bool = False
    clicks: Clicks = Clicks.NO
    pixel_top: bool = False
    footer_html: str = ""
    footer_text: str = ""
    batch: bool = False
    via_list: bool = False
    user_variables: Variables = field(default_factory=dict)
    list_unsubscribe: bool = False
    own: str = ""

    @property
    def keys(self) -> bool:
        """recipient.* are variables."""
        return self.batch or self.via_list

    @property
    def idle(self) -> bool:
        """Nothing is wanted but that variables are filled: what `may_need` clears can go as it is."""
        wanted = self.opens or self.clicks is not Clicks.NO or self.footer_html or self.footer_text
        return not (wanted or self.batch or self.user_variables or self.list_unsubscribe)
