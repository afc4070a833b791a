"""Which columns of an images table may be reported by group, and which name somebody.

A column of identifiers, dates or names must never be printed value by value, and no
list of such names is ever complete. So a column is reported only where the words of its
name describe images (sex, age group, site, scanner), or where it was asked for. Even
then the look of its cells and too many values for so few images leave it out. A value
of one patient alone is `other`.
"""

import collections
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from data.cxr_registry.tables import patients


def listed(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


MOST_GROUPS = 12  # values of a column that is reported by group
_IMAGES_EACH = 5  # a value must have on average, where there are more than _FEW values
_FEW = 3
OTHER = "other"  # stands for a value that would name its patient
_DATE = re.compile(
    r"(?:19|20)\d{2}([-/.]?)[01]\d\1[0-3]\d|\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}){1,2}\b"
    r"|\b\d{1,2}[-. ]?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)",
    re.IGNORECASE,
)
# three digits in a row are of a number that somebody was given (or of a year)
_NUMBERED = re.compile(r"\d{3}|\d[.]\d+[.]\d")
_CODED = re.compile(r"\d{2}")  # two are, where several values of a column have them
_WRITTEN = re.compile(
    r"[@^]|[^\W\d_],\s*[^\W\d_]|https?:|[/\\]\S+\.\w+$"
    r"|(?i:\b(?:dr|prof|mrs?|ms|herr|frau|dott|mme)\.? [^\W\d_]|^mrn)"
)
_LONGEST = 40  # characters of a value; a longer one is free text
# words of those whose images these are
_PEOPLE = frozenset(
    listed(
        "patient patients pat pats subject subjects participant participants mrn "
        "proband probandin volunteer volunteers resident insured upn pseud alias"
    )
)
# words of a column's name that say what its cells are, whatever stands beside them
_NAMING = frozenset(
    listed(
        "id ids uid uuid guid mrn name names surname firstname lastname "
        "fullname forename initials dob birth birthday birthdate born date "
        "dates datetime timestamp address street phone telephone mobile email "
        "mail ssn nhs insurance passport accession patient patients subject "
        "participant person pseudonym hash key path file filename url uri "
        "folder comment comments note notes report text impression remark "
        "remarks postcode zip zipcode reader radiologist physician doctor "
        "annotator operator technician technologist referrer author reporter "
        "reviewer requester clinician consultant surgeon nurse attending resident "
        "donor client by "
        # the same in other languages, since a register's header is in its own
        "nom prenom prénom nombre apellido apellidos cognome nome naam achternaam "
        "voornaam navn namn fornavn etternavn kennung aktenzeichen geburtstag datum "
        "fecha arzt befunder medico médico medecin médecin dossier expediente historia "
        "cartella имя фамилия фио пациент 姓名 氏名 名前 生日 日期 檢查日期 身分證 "
        "患者 病人 病案号 病歷號 住院号 "
    )
)
# words that name a record where nothing else stands beside them
_ALONE = frozenset(
    listed(
        "study studies exam examination series instance sop case cases record "
        "visit encounter episode admission order no nr number num index row "
        "time day month year reference ref code serial barcode unnamed "
        "acc rec sub hn chi urn uin cpf kis nhc fall owner who "
    )
)
# words that make a record's number of what stands before them
_NUMBERS = frozenset(listed("no nr num"))
# and ends of such words; steroid and valid end like them
_GLUED = re.compile(r"(?:(?<!o)id|uid|date|datum|name|number|nummer)$")
_WORDS = frozenset(
    listed(
        "valid invalid solid fluid rapid hybrid covid grid mid acid lipid "
        "candidate update pyramid "
    )
)
_ATTRIBUTES = frozenset(listed("age sex gender race ethnicity weight height bmi type "))
# words of a column whose cells are numbers that were measured, not given to somebody
_MEASURED = _ATTRIBUTES | frozenset(listed("kv kvp ma mas dose size thickness spacing"))
# words of a column that names no patient, though its cells are for nobody's eyes
_NO_PEOPLE = frozenset(
    listed(
        "date dates datetime time timestamp day month year dob birth birthday "
        "birthdate born path file filename url uri folder comment comments note "
        "notes report text impression remark remarks postcode zip zipcode "
        "reader radiologist physician doctor annotator operator technician "
        "technologist referrer address street device scanner site hospital "
        "model machine author reporter reviewer requester clinician consultant surgeon "
        "nurse attending resident by arzt befunder medico médico medecin médecin datum "
        "geburtstag fecha"
    )
)
# words that say what describes an image, and not whose it is
_DESCRIBING = listed(
    "sex gender age agegroup race ethnicity ethnic bmi weight height smoker smoking "
    "site sites hospital center centre institution institute clinic country region "
    "state city area department dept ward unit setting inpatient outpatient emergency "
    "icu er ed ae trauma source origin dataset cohort arm batch domain database "
    "scanner vendor manufacturer maker device detector machine model system equipment "
    "modality technique protocol kv kvp ma mas dose grid filter exposure resolution "
    "size spacing thickness bits depth view viewposition position projection "
    "orientation side laterality portable bedside mobile supine erect upright standing "
    "ap pa lateral rotation inspiration quality noise artifact artefact motion "
    "contrast sharpness brightness difficulty easy hard subtle visibility conspicuity "
    "severity grade stage displaced displacement location place lobe zone anatomy body "
    "organ bone rib clavicle finding findings disease diagnosis pathology subtype type "
    "kind category class comorbidity history implant implants hardware pacemaker "
    "tube tubes line lines drain medication treated treatment therapy steroid surgery "
    "postoperative acute chronic old new osteoporosis density tissue breast birads "
    "education income language insurance season weekday weekend night day "
    "shift hours year decade era period fold stratum subgroup group cluster pediatric "
    "paediatric adult child elderly pregnant hybrid digital analog analogue solid "
    "fluid "
    "geschlecht alter altersgruppe klinik krankenhaus standort zentrum gerät geraet "
    "hersteller aufnahme projektion lage seite qualität schwere schweregrad abteilung "
    "station sexe âge hôpital centre pays appareil sexo edad género grupo centro pais "
    "país equipo sesso età ospedale geslacht leeftijd ziekenhuis "
    "性別 性别 年齡 年龄 醫院 医院 科別 機型 體位 体位"
)
# words that may stand beside them
_BESIDE = listed(
    "patient patients subject study image film exam x ray xray chest cxr lesion "
    "lesions fracture of at in the is has with by from for and or no not any other "
    "group groups grp band bin bins range class cat category level status flag code "
    "binary yes count years yrs yr months cm mm kg px birth low high mean total number"
)
_DESCRIBED = re.compile(
    "(?:"
    + "|".join(sorted({*_DESCRIBING, *_BESIDE}, key=lambda word: (-len(word), word)))
    + ")+"
)
SPLIT_WORDS: Mapping[str, str] = {
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "train": "train",
    "training": "train",
}


def words_of(name: str) -> list[str]:
    """The words of a column's name, however they are joined.

    >>> words_of("StudyInstanceUID"), words_of("site_id"), words_of("Date of birth")
    (['study', 'instance', 'uid'], ['site', 'id'], ['date', 'of', 'birth'])
    """
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return re.findall(r"[^\W\d_]+", text.casefold())


def is_naming(column: str) -> bool:
    """Whether a column's name says that its cells name somebody, a record or a day."""
    words = words_of(column)
    joined = "".join(words)
    if not words:  # digits alone: a header that is a cell
        return True
    if set(words) & _ATTRIBUTES and not set(words) & {"id", "uid", "name", "date"}:
        return False
    glued = _GLUED.search(joined) and joined not in _WORDS
    numbered = words[-1] in _NUMBERS
    return bool(set(words) & _NAMING or set(words) <= _ALONE or glued or numbered)


def is_described(column: str) -> bool:
    """Whether a column's name is of words that describe images, and no others.

    >>> is_described("PatientSex"), is_described("age_group"), is_described("scanner")
    (True, True, True)
    >>> is_described("pat"), is_described("site contact"), is_described("patient")
    (False, False, False)
    """
    words = words_of(column)
    joined = "".join(words)
    says = {*words, joined} & {*_DESCRIBING} or any(
        word in joined for word in _DESCRIBING if len(word) > 2
    )
    return bool(says and _DESCRIBED.fullmatch(joined))


def is_person(column: str) -> bool:
    """Whether a column's name says that its cells name patients, in whichever way.

    >>> is_person("Patient Name"), is_person("PatientSex"), is_person("outpatient")
    (True, False, False)
    """
    words = set(words_of(column))
    return not words & _ATTRIBUTES and bool(
        words & _PEOPLE or "".join(words_of(column)).startswith(("patient", "mrn"))
    )


def may_be_patients(column: str, values: Sequence[str]) -> bool:
    """Whether a column may tell patients, or their studies, apart by identifiers.

    They have many values, and several images share one; so a table without a column of
    patients would count the images of one patient as so many patients.
    """
    named = [value for value in values if not patients.is_missing(value)]
    many = min(MOST_GROUPS, max(_FEW, len(values) / _IMAGES_EACH))
    words = set(words_of(column))
    return (
        is_naming(column)
        and not words & _NO_PEOPLE
        and many < len(set(named)) < len(named)
    )


def names_somebody(values: Iterable[str]) -> bool:
    """Whether cells look like identifiers, dates, names or free text."""
    return any(
        len(value) > _LONGEST
        or _DATE.search(value)
        or _NUMBERED.search(value)
        or _WRITTEN.search(value)
        for value in values
    )


def shown(column: str) -> str:
    """A column's name, unless it looks like a cell: of a table without a header."""
    return "one without a proper name" if names_somebody([column]) else column


def are_codes(column: str, values: Iterable[str]) -> bool:
    """Whether a column's cells look like numbers that patients were given.

    >>> are_codes("dossier 2", ("A17", "A18", "B20", "B21")), are_codes("site", "ABCD")
    (True, False)
    """
    numbered = sum(bool(_CODED.search(value)) for value in set(values))
    words = words_of(column)
    return numbered > _FEW and not {*words, "".join(words)} & _MEASURED


def is_split(values: Iterable[str]) -> bool:
    """Whether the cells of a column say which part an image belongs to."""
    found = {value.casefold() for value in values} - {""}
    return len(found) > 1 and found <= set(SPLIT_WORDS)


def of_columns(
    columns: Mapping[str, Sequence[str]],
    patient: Sequence[str],
    asked: Collection[str] = (),
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns to report by group, and the names of those that can't be.

    Args:
        columns: name -> n cells.
        patient: of each image.
        asked: columns that name nobody, whoever asks for them says so.

    Returns:
        name -> str[n], "" where unknown; and the names left out.
    """
    groups, left_out = {}, []
    most = min(MOST_GROUPS, max(_FEW, len(patient) / _IMAGES_EACH))
    for name, cells in columns.items():
        values = ["" if patients.is_missing(cell) else cell for cell in cells]
        values = _in_one_case(values)
        found = set(values) - {""}
        is_known = name in asked or (is_described(name) and not is_naming(name))
        names = not is_known or names_somebody({name, *found})
        if names or are_codes(name, found) or len(found) > most:
            left_out.append(name)
            continue
        held = collections.Counter(v for v, _ in set(zip(values, patient, strict=True)))
        safe = [v if held[v] > 1 or not v else OTHER for v in values]
        groups[name] = np.array(safe, str)
    return groups, tuple(left_out)


def _in_one_case(values: Sequence[str]) -> list[str]:
    """Values that differ by case, blanks or .0 alone as the most frequent of them.

    >>> _in_one_case(["M", "m", "M", "2.0", "2", "2", "Site A", "site  a"])
    ['M', 'M', 'M', '2', '2', '2', 'Site A', 'Site A']
    """
    times = collections.Counter(values)
    spelling: dict[str, str] = {}
    for value in sorted(times, key=lambda value: (-times[value], value)):
        spelling.setdefault(_bare(value), value)
    return [spelling[_bare(value)] for value in values]


def _bare(value: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    return re.sub(r"^(\d+)\.0+$", r"\1", text)


def alike(groups: Mapping[str, np.ndarray]) -> list[str]:
    """Sentences on groups of one column that may be one, written in two ways.

    A letter beside the only word that it begins, and values that differ by signs
    within or by zeros. They are not joined: nobody can tell M of mujer from M of male.

    Args:
        groups: of `of_columns`; values that it shows.
    """
    notes = []
    for column, cells in groups.items():
        values = sorted(set(cells.tolist()) - {"", OTHER})
        pairs = [
            f"{one} and {other}"
            for i, one in enumerate(values)
            for other in values[i + 1 :]
            if _is_alike(one, other, values)
        ]
        if pairs:
            text = f"{column}: {', '.join(pairs)} may be one group in two spellings; "
            notes.append(text + "they are reported apart, so write each in one way")
    return notes


def _is_alike(one: str, other: str, values: Sequence[str]) -> bool:
    if _joined(one) == _joined(other):
        return True
    short, long = sorted((one, other), key=len)
    begun = [v for v in values if len(v) > 1 and v[0].casefold() == short.casefold()]
    return len(short) == 1 and short.isalpha() and begun == [long]


def _joined(value: str) -> str:
    """A value without the signs and blanks within it, and zeros before its numbers."""
    text = re.sub(r"(?<=\w)[-_./ ]+(?=\w)", "", _bare(value))
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)
