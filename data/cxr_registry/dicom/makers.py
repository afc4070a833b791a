"""The device: from free text of a header to the name of a known maker, or "other".

Hospitals write their own name, an address or a person's name into the field: only the
name of a known maker leaves this module.
"""

import re

# Name -> how the field begins, in capitals with single blanks.
_MAKERS = {
    "Agfa": ("AGFA",),
    "Arcoma": ("ARCOMA",),
    "Canon": ("CANON", "VIRTUAL IMAGING"),
    "Carestream / Kodak": ("CARESTREAM", "KODAK", "EASTMAN KODAK", "LUMISYS"),
    "DRGEM": ("DRGEM",),
    "DuPont / Sterling": ("DUPONT", "DU PONT", "STERLING DIAGNOSTIC"),
    "Fujifilm": ("FUJI", "FUJIFILM"),
    "GE": ("GE", "GEMS", "GENERAL ELECTRIC", "OEC"),
    "Hitachi": ("HITACHI",),
    "Hologic": ("HOLOGIC", "LORAD"),
    "Imaging Dynamics": ("IMAGING DYNAMICS", "IDC"),
    "iRay": ("IRAY",),
    "Italray": ("ITALRAY",),
    "Konica Minolta": ("KONICA", "MINOLTA"),
    "Lodox": ("LODOX",),
    "Mindray": ("MINDRAY", "SHENZHEN MINDRAY"),
    "Neusoft": ("NEUSOFT",),
    "Phantom": ("PHANTOM",),  # drawn, see data/phantom
    "Oldelft / Delft Imaging": ("OLDELFT", "DELFT", "NUCLETRON OLDELFT"),
    "Philips": ("PHILIPS",),
    "Rayence": ("RAYENCE", "VATECH"),
    "Samsung": ("SAMSUNG", "SEDECAL SAMSUNG"),
    "Sedecal": ("SEDECAL",),
    "Shimadzu": ("SHIMADZU",),
    "Siemens": ("SIEMENS",),
    "Stephanix": ("STEPHANIX",),
    "Swissray": ("SWISSRAY",),
    "Toshiba": ("TOSHIBA",),
    "Trixell": ("TRIXELL",),
    "United Imaging": ("UNITED IMAGING", "UIH"),
    "Varian / Varex": ("VARIAN", "VAREX"),
    "Vieworks": ("VIEWORKS",),
    "Villa Sistemi": ("VILLA SISTEMI", "VILLA"),
}
_PATTERNS = {
    name: re.compile("|".join(rf"{start}\b" for start in starts))
    for name, starts in _MAKERS.items()
}

# A film taken at the bedside, in English, German, Chinese.
_PORTABLE = re.compile(
    r"\b(PORTABLES?|PORT|MOBILE?S?|BEDSIDE|BETTLUNGE|BETTAUFNAHME|IM BETT)\b"
    r"|床[邊边旁]|移[動动]|行[動动]"
)

OTHER = "other"


def name_of(manufacturer: str) -> str:
    """The maker's name; "other" for one not in the table, "" for an empty field.

    >>> name_of('"GE Healthcare"'), name_of("FUJIFILM Corporation"), name_of("A. Smith")
    ('GE', 'Fujifilm', 'other')
    """
    text = " ".join(re.findall(r"[A-Z0-9]+", manufacturer.upper()))
    if not text:
        return ""
    for name, pattern in _PATTERNS.items():
        if pattern.match(text):
            return name
    return OTHER


def is_portable(description: str) -> bool:
    """Whether an examination's description says that it was done at the bedside.

    Such films are AP, of sicker patients, and more often positive: a network may learn
    the device for the finding.

    >>> is_portable("CHEST (PORTABLE AP)"), is_portable("Portal vein"), is_portable("")
    (True, False, False)
    """
    return _PORTABLE.search(description.upper()) is not None
