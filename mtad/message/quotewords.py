"""Quote words: what mail programs write around quotations and under messages, in the languages they speak.

Room: message. Pure, tables only. The programs: Gmail, Outlook, Apple Mail, Thunderbird, Yahoo, mutt, Lotus Notes, K-9,
mail.ru, GMX. Expressions are matched against one line, or a few joined ones, of at most some hundred characters.
"""

import re


def _any(*words: str) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


# What an attribution begins with where it does not begin with the date or the name.
_OPENERS = _any(
    "В", "Во", "On", "In message", "In article", "At", "Quoting", "Am", "Zitat von", "Le", "En date du",
    "Selon", "El", "El día", "Il", "Il giorno", "In data", "Op", "Em", "No dia", "A", "Às", "Citando", "W dniu",
    "Dnia", "Wiadomość napisana", "Den", "På", "Dne", "Dňa", "Pada", "Vào", "Στις", "Um", "Cytowanie", "Dana",
    "Tarih",
)  # fmt: skip
_VERBS = _any(
    "wrote", "writes", "has written", "schrieb", "schrieben", "geschrieben", "a écrit", "a écrit ", "écrivait",
    "écrit", "escribió", "escribio", "ha escrito", "ha scritto", "scrisse", "scrive", "schreef", "geschreven",
    "escreveu", "pisze", "napisał", "napisała", "napisał(a)", "napisał/a", "nadesłał", "przez", "пишет",
    "написал", "написала", "написал(а)", "писал", "писал(а)", "さん wrote", "のメール", "は書きました",
    "が書きました", "さんは書きました", "skrev", "skreiv", "kirjoitti", "napsal", "napsal(a)", "napísal",
    "yazdı", "şunu yazdı", "写道", "寫道", "작성", "님이 작성", "έγραψε", "a scris", "írta", "menulis",
)  # fmt: skip

_END = r"\s*[:：]"
_TIME = r"(?:\d{1,2}\s?(?:[:.h時點点]|Uhr)\s?\d{2}|\d{1,2}\s?[ap]\.?m\b|\d{1,2}時)"
_DATE = r"(?:\d{4}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4})"
_SURE = rf"(?=.*(?:{_TIME}|{_DATE}|\S@\S))"

OPENED = re.compile(rf"{_SURE}(?:{_OPENERS})\b.{{3,350}}?(?:{_VERBS}).{{0,100}}{_END}", re.IGNORECASE)
NAMED = re.compile(
    rf"[^:：]{{1,150}}<[^<>\s]{{1,150}}@[^<>\s]{{1,150}}>\s*(?:{_VERBS}){_END}"
    rf"|(?=.*(?:{_TIME}|{_DATE}))[^\d:：]{{1,150}}(?:<[^<>]{{3,150}}>)?\)?[ ,]*"
    rf"(?:{_VERBS})\b.{{3,150}}{_END}",
    re.IGNORECASE,
)
# "5 Jan 2026, 10:00", "2026年1月5日(月) 10:00", "pon., 5 sty 2026 o 10:00": then a verb, or an address and no more.
DATED = re.compile(
    rf"(?=.{{0,60}}{_TIME})\W{{0,3}}(?:[^\W\d]+[.,]{{0,2}}\s+)?\d{{1,4}}(?:[年./\-]|\s).{{3,300}}?"
    rf"(?:{_VERBS}|<[^<>\s]{{1,150}}@[^<>\s]{{1,150}}>)\)?(?:\s?さん)?{_END}",
    re.IGNORECASE,
)
LEANING = re.compile(
    rf"(?:.*(?:{_TIME}|{_DATE}|\S@\S)|.*(?:{_VERBS})|(?:quoting|zitat von|citando|cytowanie)\s).*{_END}", re.IGNORECASE
)
OPENER = re.compile(rf"(?:{_OPENERS})\b.*\d", re.IGNORECASE)
HAS_DATE = re.compile(rf".*(?:{_TIME}|{_DATE})")
GLUED = re.compile(r"[:：]\s{2,}(?=\S)")  # "… wrote:   Hello", as Yahoo's telephones write it
ATTRIBUTION_END = re.compile(r"[:：][\s*_]*\Z")

_ORIGINAL = _any(
    "Original Message", "Original Appointment", "Reply message", "Original-Nachricht",
    "Ursprüngliche Nachricht", "Originalnachricht", "Ursprüngliche Mail", "Antwort Nachricht",
    "Message d'origine", "Message original", "Message initial", "Message d’origine", "Mensaje original",
    "Messaggio originale", "Oorspronkelijk bericht", "Origineel bericht", "Mensagem original",
    "Oryginalna wiadomość", "Wiadomość oryginalna", "Исходное сообщение", "Оригинальное сообщение",
    "Первоначальное сообщение", "元のメッセージ", "オリジナル メッセージ", "Ursprungligt meddelande",
    "Original meddelelse", "Oprindelig meddelelse", "Alkuperäinen viesti", "Původní zpráva", "Orijinal Mesaj",
    "原始邮件", "原始郵件", "원본 메시지", "original mail",
)  # fmt: skip
_FORWARDED = _any(
    "Forwarded message", "Forwarded by .*", "Begin forwarded message", "Forwarded Mail",
    "Weitergeleitete Nachricht", "Weitergeleitete Mail", "Anfang der weitergeleiteten Nachricht",
    "Anfang der weitergeleiteten E-Mail", "Message transféré", "Message transmis", "Début du message transféré",
    "Début du message réexpédié", "Courriel transféré", "Mensaje reenviado", "Inicio del mensaje reenviado",
    "Messaggio inoltrato", "Inizio messaggio inoltrato", "Messaggio Inoltrato", "Doorgestuurd bericht",
    "Begin doorgestuurd bericht", "Mensagem encaminhada", "Mensagem reencaminhada",
    "Início da mensagem encaminhada", "Início da mensagem reencaminhada", "Wiadomość przekazana dalej",
    "Przekazana wiadomość", "Treść przekazanej wiadomości", "Początek przekazywanej wiadomości",
    "Forwardowana wiadomość", "Пересылаемое сообщение", "Пересланное сообщение", "Перенаправленное сообщение",
    "Начало переадресованного сообщения", "転送メッセージ", "転送されたメッセージ", "転送されたメール",
    "Vidarebefordrat meddelande", "Videresendt meddelelse", "Přeposlaná zpráva", "转发邮件", "转发的邮件",
    "전달된 메시지",
)  # fmt: skip
_RULE = r"[ \t>]*[-_=*~─—]{2,40}\s*"
SEPARATOR = re.compile(
    rf"{_RULE}(?:{_ORIGINAL}|[^-]{{1,150}}(?:{_VERBS}))\s*:?\s*(?:[-_=*~─—]{{2,}}\s*)?", re.IGNORECASE
)
FORWARD = re.compile(
    rf"{_RULE}(?:{_FORWARDED})\s*:?\s*(?:[-_=*~─—]{{2,}}.{{0,80}})?|(?:{_FORWARDED})\s?[:：]\s*", re.IGNORECASE
)
FORWARD_SUBJECT = re.compile(
    r"\s*(?:\[[^\]]{1,40}\]\s*)?(?:fwd?|wg|tr|rv|i|inoltra|enc|res?enc|doorst|pd|vb|vs|fs|vl|転送|转发|轉寄|전달)\s?[:：]",
    re.IGNORECASE,
)
UNDERLINE = re.compile(r"\s*_{20,}\s*")

FROM_NAMES = _any(
    "From", "Von", "De", "Da", "Van", "Od", "От", "От кого", "差出人", "送信者", "Expéditeur", "Från", "Fra",
    "发件人", "寄件者", "보낸 사람", "Nadawca", "Remitente", "Mittente",
)  # fmt: skip
_FIELDS = _any(
    "Sent", "Date", "To", "Cc", "Subject", "Reply-To", "Importance", "Attachments", "Organization",
    "Organisation", "Gesendet", "Datum", "An", "Betreff", "Kopie", "Envoyé", "Envoyé le", "À", "A", "Objet",
    "Cci", "Pour", "Sujet", "Enviado", "Enviado el", "Enviada em", "Para", "Asunto", "Fecha", "CC", "Inviato",
    "Oggetto", "Data", "Assunto", "Enviada", "Verzonden", "Aan", "Onderwerp", "Wysłano", "Wysłane", "Do",
    "Temat", "DW", "Отправлено", "Дата", "Кому", "Тема", "Копия", "送信日時", "日時", "日付", "宛先", "件名",
    "Skickat", "Till", "Ämne", "Sendt", "Til", "Emne", "发送时间", "收件人", "主题", "보낸 날짜", "받는 사람",
    "제목", "Odesláno", "Komu", "Předmět",
)  # fmt: skip
HEADER_FROM = re.compile(rf"[\s*]*(?:{FROM_NAMES})\s?\*?\s*[:：]\s*\*?\s*(?:\S.*)?", re.IGNORECASE)
HEADER_FIELD = re.compile(rf"[\s*]*({_FIELDS})\s?\*?\s*[:：]\s*\*?.*", re.IGNORECASE)

# The last line of a message written on the way. "Enviado desde mi iPhone", and the words of the program's makers.
_DEVICES = (
    r"ios|iphone|ipad|ipod|android|galaxy|samsung|blackberry|windows|outlook|yahoo|mail|gmail|mobile?|phone|handy|smartphone|"
    r"huawei|xiaomi|nokia|sony|htc|lg|motorola|pixel|tablet|k-9|k9|protonmail|proton|spark|thunderbird|gmx|web\.de|"
    r"aol|hey|fairemail|telef|tel[eé]f|device|t[ée]l[ée]phone|мобильн|телефон|スマートフォン|携帯|почт"
)
_SENT = _any(
    "sent from", "sent with", "sent via", "sent using", "get outlook", "von mein", "gesendet von",
    "gesendet mit", "gesendet aus", "diese nachricht wurde von mein", "outlook für", "holen sie sich outlook",
    "envoyé de", "envoyé depuis", "envoyé à partir", "envoyé avec", "obtenir outlook", "télécharger outlook",
    "téléchargez outlook", "enviado desde", "enviado de", "enviado do", "enviado a partir", "enviado via",
    "enviado pelo", "obtener outlook", "obtenga outlook", "obter o outlook", "inviato da", "scarica outlook",
    "ottieni outlook", "verstuurd vanaf", "verzonden vanaf", "verzonden vanuit", "verzonden met", "outlook voor",
    "download outlook", "wysłane z", "wysłano z", "pobierz program outlook", "pobierz outlook", "uzyskaj",
    "отправлено с", "отправлено из", "получить outlook", "скачать outlook", "skickat från", "sendt fra",
    "lähetetty", "odesláno z", "发自", "從我的", "outlook for",
)  # fmt: skip
_SENT = _any(
    "sent from", "sent with", "sent via", "sent using", "get outlook", "von mein", "gesendet von",
    "gesendet mit", "gesendet aus", "diese nachricht wurde von mein", "outlook für", "holen sie sich outlook",
    "envoyé de", "envoyé depuis", "envoyé à partir", "envoyé avec", "obtenir outlook", "télécharger outlook",
    "téléchargez outlook", "enviado desde", "enviado de", "enviado do", "enviado a partir", "enviado via",
    "enviado pelo", "obtener outlook", "obtenga outlook", "obter o outlook", "inviato da", "scarica outlook",
    "ottieni outlook", "verstuurd vanaf", "verzonden vanaf", "verzonden vanuit", "verzonden met", "outlook voor",
    "download outlook", "wysłane z", "wysłano z", "pobierz program outlook", "pobierz outlook", "uzyskaj",
    "отправлено с", "отправлено из", "получить outlook", "скачать outlook", "skickat från", "sendt fra",
    "lähetetty", "odesláno z", "发自", "從我的", "outlook for",
)  # fmt: skip
SENT_FROM = re.compile(
    rf"[*_>\s-]*(?:{_SENT}).{{0,60}}(?:{_DEVICES}).{{0,160}}"
    rf"|.{{0,40}}(?:{_DEVICES}).{{0,30}}(?:から送信|からの送信|gesendet\.?|を入手|を取得|geschreven).{{0,80}}",
    re.IGNORECASE,
)
DELIMITER = re.compile(r"\s?(?:--|—|––)\s*|_{2,5}\s*")

# Words under which people put their name. Thanks are one only with a name on a line of its own below.
_REGARDS = _any(
    "best regards", "kind regards", "warm regards", "regards", "best wishes", "all the best", "cheers", "best",
    "sincerely", "yours sincerely", "yours truly", "yours faithfully", "many thanks and best regards",
    "thanks and regards", "respectfully", "viele grüße", "viele grüsse", "viele gruesse", "liebe grüße",
    "liebe grüsse", "mit freundlichen grüßen", "mit freundlichen grüssen", "mit freundlichem gruß",
    "freundliche grüße", "freundliche grüsse", "beste grüße", "schöne grüße", "herzliche grüße", "gruß",
    "gruss", "grüße", "lg", "mfg", "vg", "hochachtungsvoll", "cordialement", "bien cordialement",
    "très cordialement", "sincères salutations", "salutations", "bien à vous", "bien à toi", "amicalement",
    "bonne journée", "bonne soirée", "meilleures salutations", "à bientôt", "cdt", "cdlt", "saludos",
    "un saludo", "saludos cordiales", "un cordial saludo", "atentamente", "un abrazo", "cordialmente",
    "muchos saludos", "cordiali saluti", "distinti saluti", "saluti", "un saluto", "un caro saluto", "a presto",
    "tanti saluti", "met vriendelijke groet", "met vriendelijke groeten", "vriendelijke groet",
    "vriendelijke groeten", "groeten", "groetjes", "groet", "hartelijke groet", "hartelijke groeten", "mvg",
    "pozdrawiam", "z poważaniem", "serdecznie pozdrawiam", "pozdrawiam serdecznie", "pozdrowienia",
    "z wyrazami szacunku", "atenciosamente", "cumprimentos", "com os melhores cumprimentos",
    "melhores cumprimentos", "abraços", "abraço", "um abraço", "att", "с уважением", "с наилучшими пожеланиями",
    "всего доброго", "всего наилучшего", "с приветом", "med vänliga hälsningar", "vänliga hälsningar",
    "med venlig hilsen", "venlig hilsen", "vennlig hilsen", "hälsningar", "mvh", "ystävällisin terveisin",
    "s pozdravem", "saygılarımla", "敬具", "草々", "此致", "祝好",
)  # fmt: skip
_THANKS = _any(
    "thanks", "thank you", "many thanks", "thanks a lot", "thanks again", "thx", "ta", "danke", "vielen dank",
    "besten dank", "merci", "merci beaucoup", "merci d'avance", "gracias", "muchas gracias", "grazie",
    "grazie mille", "bedankt", "dank je", "alvast bedankt", "dzięki", "dziękuję", "obrigado", "obrigada",
    "muito obrigado", "muito obrigada", "спасибо", "tack", "tak", "takk", "kiitos", "děkuji",
)  # fmt: skip
REGARDS = re.compile(rf"\s*(?:{_REGARDS})\s*[,.!;~–-]*\s*", re.IGNORECASE)
REGARDS_NAME = re.compile(
    rf"\s*(?:{_REGARDS})\s*[,.!;~–-]*\s+[^\W\d_a-z][\w'’.-]*(?:\s+[^\W\d_a-z][\w'’.-]*){{0,2}}\s*"
)
THANKS = re.compile(rf"\s*(?:{_THANKS})\s*[,.!~–-]*\s*", re.IGNORECASE)
