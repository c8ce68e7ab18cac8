"""Phrases: how programs begin to say that mail failed or waits, by language; tables for feedback.prose.

Room: feedback. Pure. What a refusal means is in conf/bounces.toml; here is only what shows that a text reports one.
All in lower case, single blanks. No open-ended repeats: the text searched is a stranger's.
"""

import re

FAILED = (
    # English
    "(?:could|can|was|were|has|have|is) ?n[o']t (?:be |been )?(?:delivered|sent to|reached)",
    "cannot be delivered",
    "undeliver(?:able|ed)",
    "(?:un|not |n't )able to deliver",
    "deliver(?:y|ing).{0,60} (?:has )?(?:failed|failure)",
    "deliver(?:y|ing) (?:status notification )?\\(?failure",
    "failed to deliver",
    "failure notice",
    "returned mail",
    "mail (?:delivery )?(?:failure|failed|error)",
    "(?:permanent|fatal) (?:fatal )?errors?",
    "failed permanently",
    "did not reach the following",
    "message (?:was )?(?:returned|not delivered|blocked|bounced)",
    "returning message to sender",
    "(?:was|been|message) (?:rejected|refused|bounced) by",
    "nondeliverable|non-?delivery",
    "address not found",
    "(?:was|has been) aborted after",
    "had delivery errors",
    # German
    "unzustellbar",
    "nicht zu(?:ge)?stell(?:t|bar|en)",
    "zustell(?:ung|fehler).{0,60}(?:fehlgeschlagen|fehler|nicht möglich|gescheitert)",
    "konnte nicht .{0,60}(?:zugestellt|übermittelt|ausgeliefert)",
    # French
    "non (?:remis|distribu|délivr|delivr)",
    "n'a (?:pas pu|pu) être (?:remis|distribu|délivr|livr|envoy)",
    "échec (?:de la |de )?(?:remise|livraison|distribution|l'envoi)",
    "impossible de (?:remettre|distribuer|délivrer|livrer)",
    # Spanish, Portuguese
    "no (?:se )?(?:ha podido|ha sido|pudo|fue) .{0,40}(?:entreg|enviad)",
    "no entregad",
    "(?:error|fallo) (?:de|en la) entrega",
    "n[ãa]o (?:p[ôo]de|foi|p[ôo]de ser) .{0,20}entreg",
    "falha (?:na|de) entrega",
    "n[ãa]o entregue",
    # Italian
    "non (?:è stato possibile|può essere|è stato|e' stato) .{0,40}(?:consegn|recapit|inviat)",
    "mancat[ao] (?:consegna|recapito)",
    "non recapitabile",
    # Dutch
    "(?:kon|kan) niet (?:worden )?(?:bezorgd|afgeleverd)",
    "niet bezorgd|onbestelbaar",
    # Polish
    "nie (?:mo(?:ż|z)e zosta(?:ć|c)|zosta(?:ł|l)a?|mo(?:ż|z)na|uda(?:ł|l)o si(?:ę|e)) .{0,20}dostarcz",
    "niedostarczon|niedor(?:ę|e)cz",
    # Russian
    "не (?:может быть|было|удалось|смогло быть) .{0,20}доставл?(?:ен|ить)",
    "недоставлен|не доставлен",
    # Japanese, Chinese
    "配信(?:不能|できません|に失敗|エラー)|送信できません|届けることができません|配達できません|配送できません",
    "(?:邮件|郵件)?(?:无法|無法)(?:投递|投遞|送达|送達|发送|傳送|传递)|退信|投递失败|投遞失敗|未送达|发送失败",
)

DELAYED = (
    "delivery status notification \\(delay",
    "(?:delayed|delay in) (?:mail|delivery|delivering)",
    "mail delayed",
    "deliver(?:y|ies|ing) (?:of .{0,60} )?(?:has been |is |was )?(?:temporarily )?(?:delayed|deferred|incomplete)",
    "warning: (?:message|could not send|e?-?mail)",
    "delays? in delivering",
    "not yet been (?:delivered|sent)",
    "message delayed",
    "(?:will|shall) (?:keep|continue) (?:to )?(?:try|retry|attempt|on trying)",
    "(?:will|be) retr(?:y|ied) (?:for|until|every)",
    "attempts? will (?:continue|be made)",
    "(?:this is a|advisory) (?:warning|notice) (?:message )?only",
    "do not need to (?:re-?send|do anything)",
    "still trying to",
    "zustellung .{0,40}(?:verzögert|verspätet)|verzögerte zustellung|noch nicht zugestellt|weiterhin versuch",
    "remise .{0,30}(?:retard|différ)|pas encore (?:été )?(?:remis|distribu|livr)",
    "entrega .{0,40}(?:retras|demor|atras)|a[úu]n no (?:se )?ha(?: sido)? (?:podido )?entreg|ainda não foi entregue",
    "consegna .{0,30}(?:ritard|rinviat)|non (?:è|e') (?:stato )?ancora (?:stato )?(?:consegn|recapit)",
    "bezorging .{0,30}vertraagd|nog niet (?:bezorgd|afgeleverd)",
    "(?:opó(?:ź|z)nion|opó(?:ź|z)nienie)|jeszcze nie (?:zosta|dostarcz)",
    "доставка .{0,40}(?:задерж|отлож)|ещ[её] не (?:было )?доставлен",
    "配信(?:の)?遅延|配信が遅れて|まだ配信",
    "(?:投递|投遞|传递|传送)(?:延迟|延遲|延误)|(?:尚未|仍未)(?:投递|送达)",
)

# A line of this kind ends the report: behind it comes the message itself.
COPY_BELOW = (
    "-{2,60} ?(?:this is a copy|below this line|original message|returned message|copy of (?:the|your)|message header"
    "|unsent message|enclosed|here is|the header|undelivered message|headers follow|message text|ursprüngliche"
    "|message d'origine|mensaje original|messaggio originale|oorspronkelijk|mensagem original|исходное|元のメッセージ"
    "|原始邮件|原邮件)",
    "(?:the |your )?(?:original |undelivered )?message (?:header )?(?:follows|is attached|headers? follow)",
    "received: ?(?:from|by) ",
    "return-path: <",
)

# What only gives possible reasons, and so none.
HEDGED = (
    r"\b(?:may|might|maybe|possibl[ey]|perhaps|probably|either|please (?:check|verify|make sure|try)|if (?:you|the))\b",
    r"\b(?:verify that|make sure|check (?:the|that|your|for)|common (?:reasons|causes))\b",
    r"möglicherweise|eventuell|vielleicht|bitte (?:über)?prüfen|könnte",
    r"peut-être|vérifiez|il se peut|veuillez",
    r"\b(?:quizás?|puede (?:que|ser)|compruebe|verifique|talvez|pode ser|forse|potrebbe|verificar[ei]?|controllare)\b",
    r"\b(?:mogelijk|misschien|controleer|być może|proszę sprawdzić|sprawdź)\b",
    r"возможно|проверьте|рекомендуем|может быть (?:неверн|указан)",
    r"可能|请检查|請檢查|かもしれません|可能性|ご確認",
)


def any_of(*tables: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(phrase for table in tables for phrase in table))
