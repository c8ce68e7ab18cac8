"""Operations: everything an operator asks for or does, with one meaning for command line, HTTP API and panel.

Room: api. May import: mail, message, storage.
"""

from mtad.api.account_operations import AccountOperations
from mtad.api.base import Impossible
from mtad.api.campaign_operations import CampaignOperations
from mtad.api.journal_operations import EVENT_WORDS, JournalOperations
from mtad.api.key_operations import KeyOperations
from mtad.api.list_operations import ListOperations
from mtad.api.member_operations import MemberOperations
from mtad.api.route_operations import RouteOperations
from mtad.api.stored_operations import StoredOperations
from mtad.api.suppression_operations import SuppressionOperations
from mtad.api.webhook_operations import WebhookOperations

__all__ = ["EVENT_WORDS", "OFFERED", "Impossible", "Operations"]


class Operations(
    AccountOperations,
    CampaignOperations,
    KeyOperations,
    JournalOperations,
    ListOperations,
    MemberOperations,
    RouteOperations,
    StoredOperations,
    SuppressionOperations,
    WebhookOperations,
):
    """Each method checks what it is given, does the thing on disk and in the running daemon's memory, and logs it.

    Raises Impossible with one line for people.
    """


# What the control socket offers: all of it.
OFFERED = {
    operation.__name__: operation
    for operation in (
        Operations.queue_list,
        Operations.queue_show,
        Operations.queue_retry,
        Operations.queue_drop,
        Operations.queue_pause,
        Operations.queue_unpause,
        Operations.site_list,
        Operations.site_show,
        Operations.site_suspend,
        Operations.site_resume,
        Operations.domain_add,
        Operations.domain_list,
        Operations.domain_show,
        Operations.domain_remove,
        Operations.domain_pause,
        Operations.domain_resume,
        Operations.domain_set,
        Operations.domain_create,
        Operations.domain_verify,
        Operations.dkim_list,
        Operations.dkim_add,
        Operations.dkim_remove,
        Operations.dkim_activate,
        Operations.dkim_select,
        Operations.dkim_authority,
        Operations.credential_add,
        Operations.credential_change,
        Operations.credential_list,
        Operations.credential_remove,
        Operations.credential_clear,
        Operations.campaign_add,
        Operations.campaign_list,
        Operations.campaign_show,
        Operations.campaign_set,
        Operations.campaign_remove,
        Operations.events,
        Operations.message_show,
        Operations.captured_list,
        Operations.captured_show,
        Operations.captured_clear,
        Operations.key_add,
        Operations.key_list,
        Operations.key_revoke,
        Operations.key_lend,
        Operations.list_add,
        Operations.list_list,
        Operations.list_show,
        Operations.list_set,
        Operations.list_remove,
        Operations.list_stats,
        Operations.member_add,
        Operations.member_list,
        Operations.member_show,
        Operations.member_set,
        Operations.member_remove,
        Operations.member_import,
        Operations.route_add,
        Operations.route_list,
        Operations.route_show,
        Operations.route_set,
        Operations.route_remove,
        Operations.route_match,
        Operations.route_test,
        Operations.stored_list,
        Operations.stored_show,
        Operations.stored_remove,
        Operations.suppression_add,
        Operations.suppression_list,
        Operations.suppression_find,
        Operations.suppression_remove,
        Operations.suppression_clear,
        Operations.suppression_import,
        Operations.suppression_undo,
        Operations.webhook_add,
        Operations.webhook_list,
        Operations.webhook_set,
        Operations.webhook_remove,
        Operations.webhook_pause,
        Operations.webhook_resume,
        Operations.webhook_log,
        Operations.webhook_replay,
        Operations.webhook_test,
        Operations.webhook_key,
        Operations.check,
    )
}
