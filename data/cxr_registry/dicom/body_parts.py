"""Parts of the body: the terms that are kept of what a header says.

Only a term of TERMS ever leaves: any other word might be a name.

Reference: DICOM PS3.16 annex L, table L-1, Body Part Examined.
"""

import re
import unicodedata

CHEST, OTHER = "CHEST", "OTHER"
TERMS = frozenset({CHEST, OTHER})

# Beginnings of words, for what of it a chest radiograph shows ...
_CHEST = re.compile(
    r"CHEST|THORA|T[OÓ]RA[CX]|BRUST|PECHO|POITRINE|PULMO|LUNG|RIBS?$|RIPPE|CLAVIC|"
    r"SCHL[UÜ]SSELB|STERN|HEART|MEDIASTIN|胸|肺|肋|锁骨|鎖骨"
)
# ... and for what it does not.
_OTHER = re.compile(
    r"ABDO|ANKLE|ARM|BREAST|MAMM|CALCAN|CAROTID|CERVI|COCCYX|[CLST] ?SPINE|SPINE|"
    r"ELBOW|ELLENB|EXTREM|EYE|FEMUR|FINGER|FOOT|FUSS|FOREARM|HAND|HEAD|HIP|HUMERUS|"
    r"H[UÜ]FTE|JAW|KNEE|KNIE|LEG|LWS|HWS|BWS|MANDIB|MAXILLA|NECK|ORBIT|PATELLA|PELVI|"
    r"BECKEN|RADIUS|SACR|SCAPULA|SCHULTER|SHOULDER|SKULL|SCH[AÄ]DEL|TIBIA|FIBULA|TOE|"
    r"TMJ|ULNA|WRIST|ZYGOMA|WHOLEBODY|头|頭|膝|髋|髖|手|足|腰|颈|頸|腹|骨盆|肩"
)


def known(text: str) -> str:
    """CHEST, OTHER, or "" for what is neither, is both, or is missing.

    Args:
        text: Body Part Examined, or words in its place.

    >>> [known(text) for text in ("CHEST", "Thorax ap", "HIP", "CHESTABDOMEN", "Smith")]
    ['CHEST', 'CHEST', 'OTHER', '', '']
    """
    plain = unicodedata.normalize("NFKC", text).upper().strip()
    is_chest, is_other = _CHEST.search(plain), _OTHER.search(plain)
    if bool(is_chest) == bool(is_other):
        return ""
    return CHEST if is_chest else OTHER
