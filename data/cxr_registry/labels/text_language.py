"""Which language a sentence is in: enough to leave unread what no pattern can read.

The script tells most of them apart. Languages in Latin letters are told by words that
are frequent in reports of the chest and that no other language of the list has; it
takes no dictionary and no model, and where nothing speaks against it, a sentence counts
as read.
"""

import re
from collections.abc import Collection

_SCRIPTS = {  # code -> letters of its script, two where one may be a sign
    "ja": re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]"),
    "zh": re.compile(r"[\u3400-\u9fff\uf900-\ufaff]{2}"),
    "ko": re.compile(r"[\uac00-\ud7af\u1100-\u11ff]"),
    "ru": re.compile(r"[\u0400-\u04ff]{2}"),
    "el": re.compile(r"[\u0370-\u03ff]{3}"),
    "ar": re.compile(r"[\u0600-\u06ff]{2}"),
    "he": re.compile(r"[\u0590-\u05ff]{2}"),
    "th": re.compile(r"[\u0e00-\u0e7f]{2}"),
    "hi": re.compile(r"[\u0900-\u097f]{2}"),
}
_WORD = re.compile(r"[^\W\d_]+")
# Letters with marks that no other language of the list has.
_VIETNAMESE = re.compile(r"[\u0103\u01a1\u01b0\u0111\u1ea0-\u1ef9]", re.IGNORECASE)
_WORDS = {
    "en": "the of and is are was were no not there with without within in on at for to "
    "from this that has have seen normal clear left right heart lung lungs chest rib "
    "ribs bony bones acute old fracture fractures effusion pneumothorax silhouette size "
    "clavicle clavicles healed multiple displaced consolidation opacity unremarkable "
    "unchanged stable identified noted evidence pleural",
    "de": "der das des dem den und ist sind nicht kein keine keinen ohne mit bei zum zur "
    "nach von links rechts lunge herz rippe rippen fraktur frakturen erguss befund "
    "beurteilung unauffällig verdacht beidseits klavikula schlüsselbein keinerlei "
    "nachweis regelrecht knöcherner dislozierte alte herzgröße",
    "es": "el los las del sin con por para una derecha derecho derechas derechos "
    "izquierda izquierdo izquierdas izquierdos fractura fracturas costales clavícula "
    "clavicula costilla costillas arcos pulmón pulmones pulmonar pulmonares derrame "
    "neumotórax silueta cardiaca cardíaca tamaño observan observa evidencia tórax "
    "desplazada lesiones óseas hallazgos campos normales consolidada antigua",
    "it": "il lo gli della delle dei di non senza destra destro sinistra sinistro "
    "frattura fratture clavicola costa coste costali polmone polmoni polmonari "
    "polmonare versamento pneumotorace cuore torace campi liberi lesioni scomposta "
    "composta nella nei osservano ombra cardiaca pleurico evidenti",
    "fr": "le les du la des et sans avec pas une droite droit droits gauche gauches "
    "clavicule côte côtes costaux poumon poumons pulmonaire épanchement cardiaque arcs "
    "normale claire clairs foyer tiers de déplacée radiographie visible",
    "pt": "dos das da sem não uma direita direito esquerda esquerdo fratura fraturas "
    "clavícula costela costelas pulmão pulmões derrame alterações área cardíaca tórax "
    "evidências ossos sinais arcos costais",
    "nl": "het een van geen niet zonder met links rechts ribben fractuur fracturen "
    "sleutelbeen claviculafractuur longen pleuravocht verdenking oude",
    "pl": "nie bez oraz złamanie złamania żebra żeber obojczyka obojczyk płuca serce "
    "prawego lewego klatki piersiowej zmian",
    "tr": "yok izlenmedi izlendi sağ sol kırık kırığı kosta klavikula akciğer kalp "
    "normaldir saptanmadı",
    "vi": "không có gãy xương sườn đòn phổi tim bên trái phải tràn dịch màng khí hai bình "
    "thường hình ảnh bóng cung số",
}
_VOCABULARY = {code: frozenset(words.split()) for code, words in _WORDS.items()}


def foreign(sentence: str, languages: Collection[str]) -> str:
    """The code of the language of a sentence that is in none of `languages`, or "".

    Args:
        sentence: of a report.
        languages: codes of those that patterns are at hand for.

    >>> foreign("Fractura de clavícula izquierda.", ["en"]), foreign("Clear.", ["en"])
    ('es', '')
    """
    if not sentence.isascii():
        for code, letters in _SCRIPTS.items():
            if code not in languages and letters.search(sentence):
                return code
        if "vi" not in languages and len(_VIETNAMESE.findall(sentence)) > 1:
            return "vi"
    if not all(code in _VOCABULARY or code in _SCRIPTS for code in languages):
        return ""  # a user's own language, whose words are not known here
    words = frozenset(_WORD.findall(sentence.lower()))
    score = {code: len(words & known) for code, known in _VOCABULARY.items()}
    read = max((score.get(code, 0) for code in languages), default=0)
    other = max(_VOCABULARY.keys() - set(languages), key=lambda c: (score[c], c))
    # one word may be a name; two of a language, and fewer of those that are read
    return other if score[other] > max(read, 1) else ""
