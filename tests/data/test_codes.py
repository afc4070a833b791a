"""Plain tables: what codes of ICD-9-CM, ICD-10 and ICD-11 say of ribs and clavicles."""

# ruff: noqa: RUF001 (full-width signs are what is tested)

import pytest

from data.cxr_registry.labels import codes


def read(cell, finding="rib", *, keep_non_acute=False):
    good, bad = codes.split_codes(cell)
    assert not bad
    return codes.read_codes(good, finding, keep_non_acute=keep_non_acute)


@pytest.mark.parametrize(
    ("code", "rib", "clavicle"),
    [
        # ICD-9-CM
        ("807.00", 1, 0),  # rib(s), closed, unspecified number
        ("807.0", 1, 0),  # its last zero cut by a spreadsheet
        ("807.19", 1, 0),  # multiple ribs, open
        ("807.2", 0, 0),  # sternum, closed
        ("807.3", 0, 0),  # sternum, open
        ("807.4", 1, 0),  # flail chest
        ("807.5", 0, 0),  # larynx and trachea
        ("807", -1, 0),  # ribs, sternum, larynx and trachea
        ("809.0", -1, 0),  # ill-defined, trunk
        ("810", 0, 1),
        ("810.03", 0, 1),  # acromial end
        ("811.00", 0, 0),  # scapula
        ("812.01", 0, 0),  # humerus
        ("818.0", 0, -1),  # ill-defined, upper limb
        ("819.0", -1, -1),  # both arms, or arm with ribs and sternum
        ("828.1", -1, -1),  # legs with arms or with ribs and sternum
        ("905.1", -1, 0),  # late effect, spine and trunk
        ("905.2", 0, -1),  # late effect, upper extremities
        ("767.2", 0, 1),  # clavicle, birth trauma
        # ICD-10
        ("S22", -1, 0),
        ("S22.0", 0, 0),  # thoracic vertebra
        ("S22.20XA", 0, 0),  # sternum
        ("S22.3", 1, 0),
        ("S22.31XA", 1, 0),
        ("S22.4", 1, 0),
        ("S22.43XB", 1, 0),
        ("S22.5XXA", 1, 0),  # flail chest
        ("S22.8", 0, 0),
        ("S22.9", -1, 0),
        ("S42", 0, -1),
        ("S42.0", 0, 1),
        ("S42.021A", 0, 1),
        ("S42.009A", 0, 1),
        ("S42.1", 0, 0),  # scapula
        ("S42.201A", 0, 0),  # humerus
        ("S42.7", 0, -1),  # WHO: clavicle, scapula and humerus
        ("S42.91XA", 0, -1),  # shoulder girdle, part unspecified
        ("T02.1", -1, 0),  # WHO: thorax with lower back and pelvis
        ("T02.4", 0, -1),  # WHO: both upper limbs
        ("T91.2", -1, 0),  # WHO: sequelae, thorax and pelvis
        ("T92.1", 0, -1),  # WHO: sequelae, arm
        ("M96.A1", 0, 0),  # sternum, resuscitation
        ("M96.A3", 1, 0),  # ribs, resuscitation
        ("P13.4", 0, 1),  # clavicle, birth injury
        ("J18.9", 0, 0),
    ],
)
def test_each_code_says_what_its_title_says(code, rib, clavicle):
    assert (read(code).label, read(code, "clavicle").label) == (rib, clavicle)


@pytest.mark.parametrize("written", ["S22.41XA", "s2241xa", "S2241XA", "s22.41Xa"])
def test_dots_and_case_do_not_matter(written):
    assert read(written) == (1, "S2241XA", 0, "right")


@pytest.mark.parametrize("mark", [";", ",", " ", "|", "/", ";\n", " ; "])
def test_a_cell_holds_several_codes(mark):
    good, bad = codes.split_codes(mark.join(["S27.0XXA", "807.03", "Z3A.20", "E880.9"]))
    assert good == ["S270XXA", "80703", "Z3A20", "E8809"] and not bad


@pytest.mark.parametrize("last", "DGKPS")
@pytest.mark.parametrize("stem", ["S22.41X", "S22.41", "S42.021"])
def test_later_encounters_are_unknown_and_counted_unless_kept(stem, last):
    finding = "rib" if stem.startswith("S22") else "clavicle"
    read_as = read(stem + last, finding)
    assert (read_as.label, read_as.non_acute) == (-1, 1)
    kept = read(stem + last, finding, keep_non_acute=True)
    assert (kept.label, kept.non_acute) == (1, 0)


def test_an_acute_code_outweighs_later_encounters_and_vague_ones():
    found = read("S22.41XD;S22.9XXA;S22.32XB;S22.32XB")
    assert found == (1, "S2232XB", 1, "left")


@pytest.mark.parametrize(
    ("cell", "side"),
    [
        ("S22.31XA", "right"),
        ("S22.32XA", "left"),
        ("S22.39XA", "unspecified"),
        ("S22.41XA", "right"),
        ("S22.42XD", "left"),
        ("S22.43XA", "both"),
        ("S22.49XA", "unspecified"),
        ("S22.31XA;S22.42XA", "both"),
        ("S22.5XXA", "unspecified"),
        ("S22.31", "unspecified"),  # WHO: open; -GM: first rib
        ("807.03", "unspecified"),
        ("J18.9", ""),
    ],
)
def test_the_side_of_ribs(cell, side):
    assert read(cell).side == side


@pytest.mark.parametrize(
    ("codes_of_side", "side"),
    [
        ("001 011 014 017 021 024 031 034", "right"),
        ("002 012 015 018 022 025 032 035", "left"),
        ("009 013 016 019 023 026 033 036", "unspecified"),
    ],
)
def test_the_side_of_clavicles_is_in_the_sixth_character(codes_of_side, side):
    for digits in codes_of_side.split():
        assert read(f"S42.{digits}A", "clavicle").side == side
        assert read(f"S42.{digits}", "clavicle").side == side


@pytest.mark.parametrize(
    "cell",
    ["000", "0000", "9999", "99999", "81.0", "8.07", "80", "rib", "S22.4.1", "S22-41",
     "S22.41XAXX", "22.41XA"],
)  # fmt: skip
def test_a_cut_or_broken_code_is_no_code(cell):
    good, bad = codes.split_codes(cell)
    assert not good and len(bad) == 1


def test_marks_of_icd10_stand_beside_a_code():
    assert codes.split_codes("S27.0+ M01.3* S21.84!") == (["S270", "M013", "S2184"], [])


# ---- pathological fractures, birth injuries, ICD-11


@pytest.mark.parametrize(
    ("code", "rib", "clavicle"),
    [
        ("733.10", -1, -1),  # pathological, unspecified site
        ("733.13", 0, 0),  # vertebrae
        ("M84.48XA", -1, 0),  # pathological, other site
        ("M84.411A", 0, -1),  # right shoulder
        ("M84.38", -1, 0),  # stress, WHO's site 8: head, ribs, trunk
        ("M84.1", -1, -1),  # nonunion, site not given
        ("M84.45", 0, 0),  # pelvis and thigh
        ("M84.8", 0, 0),  # other disorders of continuity: no fracture
        ("M80.08XA", 0, 0),  # -CM: vertebrae
        ("M80.08", -1, 0),  # WHO: other, the ribs among them
        ("M96.6", -1, -1),  # at an implant
        ("M96.621", 0, 0),  # humerus
        ("M96.69", -1, -1),  # other bone
        ("M96.A9", -1, 0),  # resuscitation, other
        ("P13.8", -1, 0),  # birth, other parts of the skeleton
        ("P13.9", -1, -1),
        ("P13.3", 0, 0),  # long bones
        ("767.3", -1, 0),
        # ICD-11 MMS
        ("NA82.3", 1, 0),
        ("NA82.30", 1, 0),  # posterior
        ("NA824", 1, 0),  # several ribs, its dot lost
        ("NA82.5", 1, 0),  # flail chest
        ("NA82.0", 0, 0),  # vertebra
        ("NA82.2", 0, 0),  # sternum
        ("NA82.Z", -1, 0),
        ("NC12.0", 0, 1),
        ("NC12.01", 0, 1),  # shaft
        ("NC12.1", 0, 0),  # scapula
        ("NC12.5", 0, -1),  # clavicle, scapula or humerus
        ("NC32.0", 0, 0),  # ulna
        ("KA45.5", 0, 1),  # clavicle at birth
        ("KA45.3", -1, 0),  # thorax at birth
        ("ND32", -1, -1),  # several regions
        ("FB80.B", -1, -1),  # pathological
        ("NA82.3/XY7Z", -1, 0),  # provisional diagnosis
    ],
)
def test_more_codes_say_what_their_titles_say(code, rib, clavicle):
    assert (read(code).label, read(code, "clavicle").label) == (rib, clavicle)


def test_the_side_of_icd11_is_a_code_of_its_own():
    assert read("NA82.4&XK8G").side == "left" and read("NA82.4").side == "unspecified"


# ---- ICD-10-GM: certainty and side behind the code


@pytest.mark.parametrize(
    ("letter", "label"), [("A", 0), ("V", -1), ("Z", -1), ("G", 1)]
)
@pytest.mark.parametrize(
    "written",
    [
        *("S42.00{}", "s42.00 {}", "S42.00-{}", "S42.00 ({})", "S4200{}"),
        *("S42.00{}R", "S42.00L{}", "S42.00 R {}", "S42.00!{}"),
    ],
)
def test_letters_of_certainty_in_all_spellings(written, letter, label):
    assert read(written.format(letter), "clavicle").label == label
    assert read(written.format(letter)).label == 0


def test_a_letter_apart_is_one_of_certainty():
    found = [read(f"S22.43 {letter}").label for letter in "AVZG"]
    assert found == [0, -1, -1, 1]


def test_letters_of_side():
    sides = [read(f"S22.44{letter}").side for letter in ("R", "L", "B", "GL", "RG")]
    assert sides == ["right", "left", "both", "left", "right"]


@pytest.mark.parametrize(
    ("others", "excluded", "certain"),
    [
        (["J93.9 R"], 0, 1),  # a letter apart is never a seventh character
        ([], -1, -1),  # nothing tells -GM's letters from -CM's seventh character
        (["J93.9V"], 0, 1),  # -CM has no V
        (["I10.90 G"], 0, 1),  # nor a G behind other codes than injuries
        (["S42.01A"], 0, 1),  # nor five characters of the clavicle
        (["S06.0X1A"], 1, -1),  # -GM has no X
        (["S42.021A"], 1, -1),  # nor six characters
        (["S06.0X1A", "J93.9V"], -1, -1),  # a table of both
    ],
)
def test_what_only_one_system_has_says_what_the_letters_mean(others, excluded, certain):
    table = codes.split_codes(";".join([*others, "S22.41A", "S22.41G"]))[0]
    system = codes.system_of(table)
    for letter, label in (("A", excluded), ("G", certain)):
        found = codes.read_codes(
            [f"S2241{letter}"], "rib", keep_non_acute=False, system=system
        )
        assert found.label == label


def test_an_excluded_unclear_code_leaves_a_negative():
    assert read("S22.9V").label == -1
    assert codes.read_codes(
        ["S229A"], "rib", keep_non_acute=False, system=codes.System.GM
    ) == (0, "no code of the finding", 0, "")


# ---- cells as people and programs write them


@pytest.mark.parametrize(
    "cell",
    [
        "S22.41XA；J93.9",
        "S22.41XA、J93.9",
        "Ｓ２２．４１ＸＡ，Ｊ９３．９",
        "S22。41XA J93。9",
        "['S22.41XA', 'J93.9']",
        '["S22.41XA","J93.9"]',
        "{S22.41XA}{J93.9}",
        "【S22.41XA】「J93.9」",
        "“S22.41XA”, ‘J93.9’",
        "S22.41XA+J93.9*",
        "S22.41XA & J93.9",
        "S22.41XA\nJ93.9",
        "ICD-10-CM: S22.41XA; ICD-10: J93.9",
        "S22.41X A; J93.9-",
    ],
)
def test_signs_around_and_between_codes_are_read_over(cell):
    assert codes.split_codes(cell) == (["S2241XA", "J939"], [])


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("33737001", ["SNOMED CT"]),
        ("71045", ["CPT"]),
        ("5-793.1", ["OPS"]),
        ("0PS104Z", ["ICD-10-PCS"]),
        ("S120.", ["Read"]),  # ribs; ICD-10's S12.0 is the neck
        ("C0035522", ["UMLS"]),
        ("DS224", ["SKS"]),  # Danish: ribs, in a form that ICD-11 has
        ("DS42.0", ["SKS"]),
        ("450203.3", ["AIS"]),
        ("S22.3-S22.5", ["a range of codes"]),
        ("S22.4O", []),  # the letter O for a zero
        ("NULL", []),
        ("S22.4?", []),
        ("S22,4", []),
    ],
)
def test_what_is_no_icd_code_is_refused_and_named_where_known(cell, named):
    bad = codes.split_codes(cell)[1]
    assert bad and codes.name_systems(bad) == named


def test_a_word_for_nothing_in_a_list_is_no_code_of_nothing():
    assert codes.split_codes("[]") == ([], [])
    assert codes.split_codes("[None]") == ([], ["NONE"])


@pytest.mark.parametrize(
    ("code", "finding"),
    [("P13.4", "clavicle"), ("S42.0", "clavicle"), ("S22.3", "rib"), ("S22.5", "rib")],
)
def test_letters_behind_any_code_say_how_sure_it_is(code, finding):
    for letter, label in (("G", 1), ("V", -1), ("Z", -1), ("A", 0)):
        for cell in (f"{code}{letter}", f"{code} {letter}", f"{code} {letter} R"):
            found, bad = codes.split_codes(cell)
            assert not bad
            read_as = codes.read_codes(
                found, finding, keep_non_acute=False, system=codes.System.GM
            )
            assert read_as.label == label, cell
