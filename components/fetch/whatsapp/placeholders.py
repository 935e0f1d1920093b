"""What WhatsApp writes itself within a person's message: in place of a picture or a deleted text, before a caption, or behind an edited text.

iPhones put a direction mark (U+200E) before it, Android angle brackets around it or a word in brackets behind a file's name. Some versions
and texts have neither, so that the words of the most frequent languages are listed here.
"""

import re

MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"  # direction marks
NOUNS = (
    "image|video|video note|audio|sticker|gif|document|contact card|media|bild|videonotiz|videonachricht|dokument|kontaktkarte|medien"
    "|imagen|vídeo|nota de vídeo|documento|tarjeta de contacto|vidéo|note vidéo|fiche contact|contact|immagine|scheda contatto|imagem|áudio"
    "|figurinha|cartão do contato|afbeelding|contactkaart|изображение|видео|аудио|аудиофайл|стикер|документ|карточка контакта|görüntü|resim"
    "|ses|çıkartma|belge|kişi kartı|obraz|wideo|naklejka|dokument|gambar|stiker|dokumen|kartu kontak"  # noqa: RUF001
)
LEFT_OUT = (
    "omitted|weggelassen|ausgeschlossen|nicht enthalten|omitid[oa]s?|absente?s?|omis|omise|omess[oai]|non inclus[oaie]|ocult[oa]|ocultad[oa]"
    "|weggelaten|опущено|пропущен[оа]?|отсутствует|dahil edilmedi|pominięt[oya]|tidak disertakan"  # noqa: RUF001
)
DELETED = (
    r"This message was deleted|You deleted this message|This message was deleted by admin .{1,100}"
    r"|Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht|Sie haben diese Nachricht gelöscht"
    r"|Se eliminó este mensaje|Eliminaste este mensaje|Este mensaje fue eliminado|Se eliminó este mensaje por .{1,100}"
    r"|Ce message a été supprimé|Vous avez supprimé ce message"
    r"|Mensagem apagada|Essa mensagem foi apagada|Esta mensagem foi apagada|Você apagou esta mensagem|Apagou esta mensagem|Apagaste esta mensagem"
    r"|Questo messaggio è stato eliminato|Hai eliminato questo messaggio"
    r"|Dit bericht is verwijderd|U hebt dit bericht verwijderd|Je hebt dit bericht verwijderd"
    r"|Данное сообщение удалено|Это сообщение удалено|Вы удалили данное сообщение|Вы удалили это сообщение|Це повідомлення було видалено"
    r"|Bu mesaj silindi|Bu mesajı sildiniz|Ta wiadomość została usunięta|Usunięto tę wiadomość|Ta zpráva byla smazána|Tato zpráva byla smazána"  # noqa: RUF001
    r"|Detta meddelande raderades|Du raderade detta meddelande|Denne besked blev slettet|Denne meldingen ble slettet|Tämä viesti poistettiin"
    r"|Acest mesaj a fost șters|Ezt az üzenetet törölték|Αυτό το μήνυμα διαγράφηκε"
    r"|Pesan ini telah dihapus|Pesan ini dihapus|Anda menghapus pesan ini"
    r"|تم حذف هذه الرسالة|لقد حذفت هذه الرسالة|הודעה זו נמחקה|यह संदेश हटा दिया गया था|यह मैसेज मिटाया गया|आपने यह मैसेज मिटाया"
    r"|此消息已删除|您已删除此消息|你已删除此消息|此訊息已刪除|您已刪除此訊息"
    r"|このメッセージは削除されました|メッセージを削除しました|삭제된 메시지입니다"
)
CALLS = (
    r"Missed (?:group )?(?:voice|video) call(?: at .{1,20})?|Verpasster (?:Sprach|Video|Gruppen)anruf"
    r"|(?:Llamada|Videollamada)(?: de voz| de grupo)? perdida"
    r"|Appel (?:vocal|vidéo) (?:de groupe )?manqué|(?:Chiamata|Videochiamata)(?: vocale)? persa|(?:Chamada|Ligação) de (?:voz|vídeo) perdida"
    r"|Gemiste (?:spraak|video|groeps)oproep|Пропущенный (?:аудио|видео)звонок|Cevapsız (?:sesli|görüntülü) arama"  # noqa: RUF001
)
WAITING = r"Waiting for this message(?:\. This may take a while)?|Auf diese Nachricht warten(?:\. Dies kann eine Weile dauern)?"
ATTACHED = (
    "file attached|datei angehängt|archivo adjunto|fichier joint|file allegato|arquivo anexado|ficheiro anexado|bestand bijgevoegd"
    "|файл добавлен|файл прикреплен|dosya ekli|plik dołączony|załączony plik|bifogad fil|fil vedhæftet|fil vedlagt|tiedosto liitetty|file terlampir"
)
FILE = rf"(?:\S{{1,200}}\.[a-z0-9]{{2,4}} \([^()\n]{{1,60}}\)|[^\n]{{1,200}}\.[a-z0-9]{{2,4}} \((?:{ATTACHED})\))"
PLACES = r"(?:location|standort|ubicación|localisation|posizione|localização|locatie|местоположение|konum): https?://maps\.google\.com/\S+"
POLLS = r"(?:poll|umfrage|encuesta|sondage|sondaggio|enquete|peiling|опрос|anket):\n.*"
PLACEHOLDER = re.compile(
    rf"\u200e.*|<[^<>\n]{{1,60}}>|(?-i:null)|{FILE}|{PLACES}|{POLLS}|(?:(?:{NOUNS}) (?:{LEFT_OUT})|{DELETED}|{CALLS}|{WAITING})\.?",
    re.DOTALL | re.IGNORECASE,
)
CAPTIONED_FILE = re.compile(rf"^{FILE}\n", re.IGNORECASE)  # the file before a picture's caption
# "<This message was edited>"; but not the heart in "I <3 you>".
WRITTEN_BY_WHATSAPP = re.compile(r"[ \n]?\u200e<[^<>\n]{1,80}>|[ ]<[^\W\d_][^<>\n]{1,60}>$")
EDGES = re.compile(rf"^[{MARKS}]+|[{MARKS}\s]+$")


def written(text: str) -> str:
    """Return what a person wrote of a message's text; "" in place of a picture, a call or a deleted message."""
    text = WRITTEN_BY_WHATSAPP.sub("", CAPTIONED_FILE.sub("", text.removeprefix("\u202a").removeprefix("\u200e\u202a"))).strip()
    return "" if PLACEHOLDER.fullmatch(text) or PLACEHOLDER.fullmatch(EDGES.sub("", text)) else text
