"""Which column of somebody's table is what: names as people write them.

From top to bottom: the names, `read` of a header, then the forms of coordinates.

Names are compared without case, blanks and signs: `Patient ID` is `patientid`. A header
that can be read in two ways is a fault, never a guess.
"""

import dataclasses
import enum
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from aals_jax.evaluation.faults import Entries, Faults
from aals_jax.evaluation.groups import listed
from data.cxr_registry.tables.formats import Table


class Kind(enum.Enum):
    """What a table is given as."""

    IMAGES = "images"
    LESIONS = "lesions"
    DETECTIONS = "detections"


class Form(enum.Enum):
    """What the numbers of a place mean."""

    POINT = "a point x, y"
    SPACE = "a point x, y, z"
    CIRCLE = "middle x, y and radius"
    CIRCLE_ACROSS = "middle x, y and diameter"
    BALL = "middle x, y, z and radius"
    BALL_ACROSS = "middle x, y, z and diameter"
    CORNERS = "two corners x0, y0, x1, y1"
    SIZES = "left, top, width, height"
    MIDDLE = "middle x, middle y, width, height"
    LIST = "a list of four numbers"  # CORNERS or SIZES, which the data decide
    PACKED = "score left top width height, again and again"


ROUND = (Form.CIRCLE, Form.CIRCLE_ACROSS, Form.BALL, Form.BALL_ACROSS)

# The columns that this project's own tables have; a message may name them.
OWN = frozenset(
    {"image", "patient", "patient_id", "label", "score", "score_b", "split", "width"}
    | {"height", "lesion", "category", "x", "y", "x0", "y0", "x1", "y1"}
)
_SCORES = listed(
    "score scores probability prob proba confidence conf yscore yprob "
    "prediction pred imagescore output logit likelihood suspicion "
)
# Meaning -> names, of which the first that is there wins.
_FIRST: Mapping[str, tuple[str, ...]] = {
    "image": listed(
        "image imageid imageindex imagename imagefile imagefilename imagepath "
        "images filename file filepath path fname img imgid imgname imguid "
        "imageuid imageuuid film filmid filmname sopinstanceuid dicomid "
        "dicompath scan scanid seriesuid seriesinstanceuid seriesid "
    ),
    "lesion": (
        *("lesion", "lesionid", "lesionno", "lesionnumber", "annotationid"),
        *("annid", "boxid", "findingid", "noduleid", "id"),
    ),
    "category": (
        *("category", "categoryname", "class", "classname", "labelname", "finding"),
        *("findingname", "pathology", "site", "label", "labels"),
        *("categoryid", "classid", "labelid"),
    ),
    "ignored": ("ignored", "ignore", "iscrowd", "isignored", "crowd"),
    "reader": listed(
        "reader readerid radid radiologist radiologistid annotator annotatorid "
        "rater raterid observer observerid "
    ),
    "system": listed(
        "system systemid model modelname modelid method algorithm fold seed "
        "epoch checkpoint "
    ),
}
# Meaning -> names, of which only one may be there.
_ONLY: Mapping[str, tuple[str, ...]] = {
    "label": listed(
        "label labels target targets ytrue truth groundtruth gt truelabel "
        "imagelabel positive ispositive "
    ),
    "score": _SCORES,
    "score_b": tuple(f"{name}{end}" for name in _SCORES for end in ("b", "2")),
    "split": ("split", "datasplit", "subset", "partition"),
    "image_width": ("imagewidth", "imgwidth", "width"),
    "image_height": ("imageheight", "imgheight", "height"),
}
_OF_KIND = {
    Kind.IMAGES: (
        *("image", "label", "score", "score_b", "split", "image_width"),
        "image_height",
    ),
    Kind.LESIONS: ("image", "lesion", "label", "category", "reader", "ignored"),
    Kind.DETECTIONS: ("image", "score", "category", "reader", "system"),
}
_IDS = listed(
    "id ids no nr num number key code uid uuid hash identifier pseudonym "
    "pseudoid index "
)
_WHO = listed(
    "patient patients subject participant person proband patienten paciente paziente "
    "mrn emrn subj usubj"
)
_PATIENTS = (
    frozenset(
        f"{prefix}{who}{end}"
        for prefix in (
            "",
            "anon",
            "anonymized",
            "anonymised",
            "pseudo",
            "deid",
            "study",
        )
        for who in _WHO
        for end in ("", *_IDS)
    )
    | frozenset(f"{end}{who}" for who in _WHO for end in _IDS)
    | frozenset(f"{who}{end}" for who in ("pat", "pt") for end in _IDS)
    | frozenset(
        listed(
            "pid pt mrnumber medicalrecordnumber medicalrecordno medicalrecord "
            "hospitalnumber hospitalno hospnumber uhid nhsnumber nhsno nhs empi empiid "
            "empianon individual individualid anonid chartno chartnumber "
            "patiënt pasient potilas pacjent hasta prontuario prontuário "
            "病人 患者 病歷號 病歷號碼 病历号 病历号码 患者编号 "
            "患者編號 病人编号 病人編號 환자 환자번호"
        )
    )
)
# They may also stand for an examination: patients only where nothing else does.
_CASES = frozenset(f"case{end}" for end in ("", "s", *_IDS))

_PLAIN_SIZES = (
    *(("width", "height"), ("w", "h"), ("xsize", "ysize"), ("sizex", "sizey")),
    ("dx", "dy"),
)
_FIRST_CORNERS = (
    *(("x", "y"), ("x0", "y0"), ("xmin", "ymin"), ("x1", "y1"), ("left", "top")),
    *(("minx", "miny"), ("xtl", "ytl"), ("xleft", "ytop"), ("startx", "starty")),
)
_CORNERS = (
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"),
    ("xleft", "ytop", "xright", "ybottom"),
    ("xtl", "ytl", "xbr", "ybr"),
    ("startx", "starty", "endx", "endy"),
    ("xstart", "ystart", "xend", "yend"),
)
_CENTRES = (
    *(("cx", "cy"), ("xc", "yc"), ("xcenter", "ycenter"), ("centerx", "centery")),
    *(("xcentre", "ycentre"), ("centrex", "centrey"), ("xmid", "ymid")),
    *(("midx", "midy"), ("xctr", "yctr"), ("ctrx", "ctry")),
)
_POINTS = (
    ("x", "y"),
    *_CENTRES,
    *(("coordx", "coordy"), ("xcoord", "ycoord"), ("posx", "posy"), ("px", "py")),
    ("xcoordinate", "ycoordinate"),
)
_IN_SPACE = (
    *(("x", "y", "z"), ("cx", "cy", "cz"), ("xcenter", "ycenter", "zcenter")),
    *(("coordx", "coordy", "coordz"), ("xcoord", "ycoord", "zcoord")),
    *(("centerx", "centery", "centerz"), ("posx", "posy", "posz")),
)
_DEPTHS = frozenset(
    listed(
        "z z0 z1 z2 zmin zmax zstart zend coordz zcoord cz zcenter centerz posz slice "
        "sliceindex slicenumber sliceno sliceid frame plane front back depth "
    )
)
_TURNED = frozenset(["angle", "theta", "rotation", "rot"])
_EXTENTS = frozenset(["radius", "diameter", "r"])  # of a point
_ROUND = {  # form of a point -> with a radius, with a diameter
    Form.POINT: (Form.CIRCLE, Form.CIRCLE_ACROSS),
    Form.SPACE: (Form.BALL, Form.BALL_ACROSS),
}
_LISTS = {
    "bbox": Form.LIST,
    "box": Form.LIST,
    "boundingbox": Form.LIST,
    "bboxes": Form.LIST,
    "bboxxyxy": Form.CORNERS,
    "boxxyxy": Form.CORNERS,
    "bboxxywh": Form.SIZES,
    "boxxywh": Form.SIZES,
    "bboxcxcywh": Form.MIDDLE,
    "boxcxcywh": Form.MIDDLE,
    "predictionstring": Form.PACKED,
}
_PLACE_NAMES = frozenset(
    name
    for names in (*_CORNERS, *_CENTRES, *_POINTS, *_FIRST_CORNERS, *_PLAIN_SIZES)
    for name in names
)
_AROUND = re.compile(
    r"^(?:boundingbox|bbox|box|rect|roi|lesion|nodule|detection|det)(?=.)"
    r"|(?<=.)(?:mm|px|pix|pixel|pixels)$"
)


@dataclasses.dataclass(frozen=True)
class Places:
    """The columns of a point or a box, in the order that the form says."""

    form: Form
    columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """What the columns of one table are."""

    kind: Kind
    columns: Mapping[str, str]  # meaning -> column, of those that are there
    places: Places | None
    notes: tuple[str, ...] = ()  # what was understood that is not the plain reading
    used: frozenset[str] = frozenset()  # all columns with a meaning

    def cell(self, cells: Mapping[str, str], meaning: str) -> str:
        """The cell of a meaning; "" where there is no such column."""
        column = self.columns.get(meaning)
        return cells[column] if column is not None else ""


def fold(name: str) -> str:
    """A name without case, blanks and signs.

    >>> fold("Patient ID"), fold("x_min"), fold("Image-Name")
    ('patientid', 'xmin', 'imagename')
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(filter(str.isalnum, text))


def is_patient(name: str) -> bool:
    """Whether a column's name says that its cells tell patients apart.

    >>> is_patient("PatientID"), is_patient("patient_age"), is_patient("MRN")
    (True, False, True)
    """
    folded = fold(name)
    return folded in _PATIENTS or folded in _CASES


def is_same_patient(one: str, other: str) -> bool:
    """Whether two columns hold numbers of patients of one kind, by their names.

    >>> is_same_patient("Patient ID", "patient"), is_same_patient("MRN", "patient_id")
    (True, False)
    >>> is_same_patient("case", "case")  # of an image, perhaps
    False
    """
    names = {fold(name).removesuffix("id") for name in (one, other)}
    return len(names) == 1 and not names & {name.removesuffix("id") for name in _CASES}


def read(
    table: Table,
    kind: Kind,
    faults: Faults,
    *,
    image_is_patient: bool = False,
    with_radius: bool = False,
) -> Layout:
    """The layout of a table, by its header; what is unclear in it is a fault.

    Args:
        table: with its rows, since a column without any cell counts for nothing.
        kind: what it is given as.
        faults: takes names that mean one thing twice; missing columns are told by
            those who need them.
        image_is_patient: the images have no name but their patient's (`RSNA`).
        with_radius: points need a column of their radius or diameter.
    """
    names = _by_name(table, faults)
    places = _places(table, kind, names, faults)
    if with_radius and places is not None and places.form in _ROUND:
        places = _with_radius(table, names, places, faults)
    taken = set(places.columns) if places else set()
    free = {name: column for name, column in names.items() if column not in taken}
    columns: dict[str, str] = {}
    for meaning in _OF_KIND[kind]:
        found = [n for n in _FIRST.get(meaning, ()) if n in free]
        only = [n for n in _ONLY.get(meaning, ()) if n in free]
        if meaning == "category" and "label" in columns and found:
            found = [n for n in found if free[n] != columns["label"]]
        if meaning == "label" and kind is Kind.LESIONS:
            only = [n for n in only if is_label_column(table, free[n])]
        if len(only) > 1:
            text = f"{len(only)} columns may be the {meaning.replace('_', ' ')}"
            faults.add(table, None, f"{text}: {', '.join(only)}; keep one")
        if found or only:
            columns[meaning] = free[(found or only)[0]]
    patient = _patient(table, free, faults)
    if patient:
        columns["patient"] = patient
    if image_is_patient and patient:
        columns.setdefault("image", patient)
    notes = _notes(table, columns, places, names)
    used = {*columns.values(), *taken}
    return Layout(kind, columns, places, notes, frozenset(used))


def is_label_column(table: Table, column: str) -> bool:
    """Whether the cells of a lesions table's column say 0 or 1, not a category.

    Where all of them are 0, they are the number of a class.
    """
    cells = {row[column] for _, row in table.numbered()} - {""}
    return bool(cells & {"1", "1.0"}) and cells <= {"0", "1", "0.0", "1.0"}


def _by_name(table: Table, faults: Faults) -> dict[str, str]:
    """Folded name -> column."""
    names: dict[str, str] = {}
    for column in table.columns:
        name = fold(column)
        if name and names.setdefault(name, column) != column:
            known = name if name in {fold(own) for own in OWN} else "one name"
            text = f"two columns are both {known} but for case, blanks or signs"
            faults.add(table, None, f"{text}; rename one")
    return names


def _patient(table: Table, names: Mapping[str, str], faults: Faults) -> str | None:
    strong = [names[n] for n in names if n in _PATIENTS]
    if len(strong) > 1:
        known = [n for n in names if n in _PATIENTS]
        text = f"{len(strong)} columns may be the patient: {', '.join(known)}"
        faults.add(table, None, f"{text}; keep one")
    weak = [names[n] for n in names if n in _CASES]
    return (strong or weak or [None])[0]


def _plain(names: Mapping[str, str]) -> dict[str, str]:
    """Names of places without what stands around them: bbox_x and xmin_px."""
    plain: dict[str, str] = {}
    for name, column in names.items():
        bare = _AROUND.sub("", _AROUND.sub("", name))
        plain.setdefault(
            bare if bare in _PLACE_NAMES | _DEPTHS | _EXTENTS else name, column
        )
    return plain


def _places(
    table: Table, kind: Kind, names: Mapping[str, str], faults: Faults
) -> Places | None:
    """The columns of coordinates; None where there are none."""
    plain = _plain(names)
    lists = [name for name in names if name in _LISTS]
    forms = [(Form.CORNERS, c) for c in _CORNERS if _has(plain, c)]
    if not forms:
        forms = [
            (form, (*corner, *size))
            for form, corners in (
                (Form.SIZES, _FIRST_CORNERS),
                (Form.MIDDLE, _CENTRES),
            )
            for corner in corners
            for size in _PLAIN_SIZES
            if _has(plain, (*corner, *size))
        ]
    if not forms:
        forms = [(Form.SPACE, p) for p in _IN_SPACE if _has(plain, p)]
    if not forms:
        forms = [(Form.POINT, p) for p in _POINTS if _has(plain, p)]
    forms += [(_LISTS[name], (name,)) for name in lists]
    if kind is Kind.IMAGES and (not forms or forms[0][0] in (Form.POINT, Form.SPACE)):
        return None
    if not forms:
        return None
    form, chosen = forms[0]
    if len(forms) > 1:
        words = " and ".join(", ".join(columns) for _, columns in forms)
        faults.add(table, None, f"coordinates are given twice: {words}; keep one")
    rest = set(plain) - set(chosen)
    is_point = form in (Form.POINT, Form.SPACE)
    left = sorted(rest & _PLACE_NAMES) if is_point else []
    if left:
        text = f"{', '.join(chosen)} with {', '.join(left)} is not clear; give a box"
        text += " x0, y0, x1, y1 or x, y, width, height, or a point x, y alone"
        faults.add(table, None, text)
    column_of = {**names, **plain}
    for what, found in (("a depth", rest & _DEPTHS), ("turned boxes", rest & _TURNED)):
        cells = {row[plain[n]] for n in found for _, row in table.numbered()}
        # one value alone would tell nothing, but for another table's
        if cells - {"", "0", "0.0"}:
            text = f"has {what} ({', '.join(sorted(found))}); boxes here are flat and "
            faults.add(table, None, text + "upright: take that column out, or project")
    return Places(form, tuple(column_of[name] for name in chosen))


def _with_radius(
    table: Table, names: Mapping[str, str], places: Places, faults: Faults
) -> Places:
    """Points and how far each lesion reaches around its own."""
    plain = _plain(names)
    there = sorted(set(plain) & _EXTENTS)
    if len(there) != 1:
        text = "--hit_rule=radius needs one column radius or diameter, or boxes; it has"
        faults.add(table, None, f"{text} {' and '.join(there) or 'neither'}")
        return places
    form = _ROUND[places.form][there[0] == "diameter"]
    return Places(form, (*places.columns, plain[there[0]]))


def _has(names: Collection[str], wanted: Iterable[str]) -> bool:
    return all(name in names for name in wanted)


def _notes(
    table: Table,
    columns: Mapping[str, str],
    places: Places | None,
    names: Mapping[str, str],
) -> tuple[str, ...]:
    """Sentences about names that are not this project's own."""
    plain = ("image", "label", "score", "score_b", "split", "lesion", "category")
    read_as = {
        meaning: fold(column)
        for meaning, column in columns.items()
        if meaning in (*plain, "patient") and column not in OWN
    }
    notes = [
        f"{table.name}: the column {name} is read as the {meaning.replace('_', ' ')}"
        for meaning, name in read_as.items()
    ]
    if isinstance(table, Entries):  # COCO's own names
        return ()
    own_points = {("x", "y"), ("x0", "y0", "x1", "y1")}
    if places and places.columns not in own_points and places.form is not Form.LIST:
        read = ", ".join(map(fold, places.columns))
        notes.append(f"{table.name}: {read} are read as {places.form.value}")
    extents = set(_plain(names)) & _EXTENTS
    if places and places.form in (Form.POINT, Form.SPACE) and extents:
        told = ", ".join(sorted(extents))
        notes.append(f"{table.name}: {told} is not used (--hit_rule=radius uses it)")
    return tuple(notes)


def numbers_of(places: Places, cells: Mapping[str, str]) -> Sequence[str]:
    """The texts of a place's numbers: two, four, or of a list as many as it has."""
    texts = [cells[column] for column in places.columns]
    return (
        texts if len(texts) > 1 else re.split(r"[\s,;]+", texts[0].strip("[](){} \t"))
    )
