"""Tables as programs write them: CSV dialects, workbooks, COCO; rows in messages."""

# ruff: noqa: RUF001 (full-width signs are what Chinese reports have)

import csv
import io
import json
import re
import zipfile

import pytest

from data.cxr_registry.guard import checks
from data.cxr_registry.tables import formats, limits, strikes

HEAD = "image,patient_id,report"
ROWS = [
    {"image": "a.png", "patient_id": "001", "report": "no, fracture"},
    {"image": "b.png", "patient_id": "002", "report": "lungs\nclear"},
]


def scan(path):
    problems = checks.Problems()
    table = formats.scan_table(path, problems)
    return table, [(p.row, p.check) for p in problems.standing], problems.standing


def written(separator=","):
    stream = io.StringIO()
    writer = csv.DictWriter(stream, HEAD.split(","), delimiter=separator)
    writer.writeheader()
    writer.writerows(ROWS)
    return stream.getvalue()


# ---- CSV


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", '"sep={}"\n'])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_dialects_of_csv_read_alike(tmp_path, separator, first, encoding):
    path = tmp_path / "studies.csv"
    text = first.format(separator) + written(separator)
    path.write_bytes(text.encode(encoding))
    table, faults, _ = scan(path)
    assert table.rows == ROWS and not faults and table.columns == tuple(HEAD.split(","))


@pytest.mark.parametrize(
    ("lines", "bad", "last"),
    [
        (['b.png,2,"the 5" screw", seen"', "c.png,3,ok"], 3, 4),
        (['b.png,2,"never closed', "c.png,3,ok"], 3, 4),
        (['b.png,2,"never closed', 'c.png,3,"ok"', "d.png,4,ok"], 3, 5),
        # two stray quotes: what lies between would be one cell
        (['b.png,2,"a 5', "c.png,3,ok", 'd.png,4,6"', "e.png,5,ok"], 3, 6),
    ],
)
def test_a_stray_quote_is_told_by_its_row_and_costs_no_other(
    tmp_path, lines, bad, last
):
    path = tmp_path / "studies.csv"
    path.write_text("\n".join([HEAD, "a.png,1,ok", *lines, ""]))
    table, faults, _ = scan(path)
    assert faults[0] == (bad, "table")
    numbered = dict(table.numbered())
    assert numbered[2]["image"] == "a.png" and numbered[last]["report"] == "ok"
    assert bad not in numbered and max(numbered) == last


def test_a_report_of_several_lines_with_commas_is_one_cell(tmp_path):
    path = tmp_path / "studies.csv"
    report = "No fracture, no effusion,\nno mass, seen.\nSee image 3, 4, 5."
    path.write_text(f'{HEAD}\na.png,1,"{report}"\n')
    table, faults, _ = scan(path)
    assert not faults and table.rows[0]["report"] == report


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("Schlüsselbein gebrochen, Röntgen", "cp1252", "Windows-1252"),
        ("右側第五肋骨骨折，鎖骨無異常", "big5", "Big5"),
        ("右侧第五肋骨骨折，锁骨无异常", "gbk", "GBK"),
    ],
)
def test_other_encodings_are_told_by_name_and_row(tmp_path, text, encoding, named):
    path = tmp_path / "studies.csv"
    path.write_bytes(f"{HEAD}\na.png,1,ok\nb.png,2,{text}\n".encode(encoding))
    _, _, problems = scan(path)
    assert "from row 3 on" in problems[-1].text and named in problems[-1].text


def test_nul_characters_are_told_by_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"image,patient_id\na,1\nb,1\x002\nc,3\n")
    table, faults, problems = scan(path)
    assert faults == [(3, "table")] and "NUL" in problems[0].text
    assert [line["patient_id"] for _, line in table.numbered()] == ["1", "3"]


@pytest.mark.parametrize(
    ("end", "is_cut"),
    [
        ("c,3", True),  # a killed export: no codes, and no end of the line
        ("c,3\n", False),  # a spreadsheet leaves out empty cells at a row's end
        ("c,3,", False),
        ("c,3,S22.41XA", False),
        ("", False),
    ],
)
def test_a_row_in_which_the_file_ends_is_told(tmp_path, end, is_cut):
    path = tmp_path / "t.csv"
    path.write_text(f"image,patient_id,codes\na,1,J93.9\nb,2\n{end}")
    table, faults, _ = scan(path)
    assert faults == ([(4, "table")] if is_cut else [])
    assert len(list(table.numbered())) == (3 if end and not is_cut else 2)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", ",\n", ",,\r\n"])
def test_line_ends_and_empty_columns_at_the_end_are_read(tmp_path, end):
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(["image,codes", "a,J93.9", "b,S22.4", ""]).encode())
    table, faults, _ = scan(path)
    assert not faults and table.columns == ("image", "codes")
    assert [line["codes"] for line in table.rows] == ["J93.9", "S22.4"]


def test_a_workbook_under_another_name_is_told(tmp_path):
    path = tmp_path / "studies.csv"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    assert "Excel" in scan(path)[2][0].text


def test_escaped_control_characters_are_line_ends_in_csv_too(tmp_path):
    path = tmp_path / "studies.csv"
    path.write_text(f'{HEAD}\n_x0041_.png,1,"a_x000D_\nb"\n')
    table, faults, _ = scan(path)
    assert not faults and table.rows[0]["report"] == "a\nb"
    assert table.rows[0]["image"] == "_x0041_.png"


def test_a_table_of_another_ending_is_not_overlooked(tmp_path):
    for name in ("Regions.csv", "regions.tsv", "regions.xls", "studies.csv"):
        (tmp_path / name).write_text(HEAD)
    problems = checks.Problems()
    formats.open_table(tmp_path, "regions", problems)
    assert len(problems.standing) == 3
    assert all("is not read" in problem.text for problem in problems.standing)
    formats.open_table(tmp_path, "studies", problems)
    assert len(problems.standing) == 3


# ---- Excel


def book(path, rows, change=lambda sheet: None, patch=lambda xml: xml):
    """Writes a workbook; `patch` changes its sheet's XML as another program would."""
    openpyxl = pytest.importorskip("openpyxl")
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    change(made.active)
    made.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            text = (
                patch(data.decode()) if "sheet1" in name or "book.xml" in name else ""
            )
            archive.writestr(name, text or data)
    return path


CODES = [
    ("image", "codes", "helper"),
    ("a", "S22.41XA", "x"),
    ("b", None, "y"),
    ("c", "J93.9", "z"),
]


def test_a_merged_cell_counts_for_all_of_its_rows_and_is_counted(tmp_path):
    path = book(tmp_path / "t.xlsx", CODES, lambda s: s.merge_cells("B2:B3"))
    table, faults, _ = scan(path)
    assert [row["codes"] for row in table.rows] == ["S22.41XA", "S22.41XA", "J93.9"]
    assert not faults and table.filled == {3}


@pytest.mark.parametrize(
    ("merged", "row"), [("B3:C3", 3), ("B1:C1", None), ("A1:A2", None)]
)
def test_cells_merged_across_columns_or_in_the_header_are_refused(
    tmp_path, merged, row
):
    path = book(tmp_path / "t.xlsx", CODES, lambda s: s.merge_cells(merged))
    assert scan(path)[1][0] == (row, "table")


def test_a_formula_without_a_value_is_refused_by_row(tmp_path):
    rows = [*CODES, ("d", "=B2", "w")]
    path = book(tmp_path / "t.xlsx", rows)
    table, faults, _ = scan(path)
    assert faults == [(5, "table")] and table.rows[1]["image"] == "b"


def test_a_calculated_formula_is_read_and_one_to_be_calculated_is_not(tmp_path):
    """XlsxWriter stores 0 for a formula and asks Excel to calculate on opening."""

    def calculated(xml):
        return xml.replace("<v></v>", "<v>7</v>").replace("<v />", "<v>7</v>")

    def by_excel(xml):
        return calculated(xml).replace('fullCalcOnLoad="1"', "")

    rows = [("image", "count"), ("a", "=1+6")]
    assert scan(book(tmp_path / "a.xlsx", rows, patch=calculated))[1] == [(2, "table")]
    table, faults, _ = scan(book(tmp_path / "b.xlsx", rows, patch=by_excel))
    assert table.rows == [{"image": "a", "count": "7"}] and not faults


def test_escaped_characters_of_a_workbook_are_those_characters(tmp_path):
    rows = [
        ("image", "report"),
        ("a", "clear_x000D_\nno fracture"),
        ("b", "_x005F_x000D_"),
    ]
    table, _, _ = scan(book(tmp_path / "t.xlsx", rows))
    assert [row["report"] for row in table.rows] == ["clear\nno fracture", "_x000D_"]


def test_hidden_rows_are_told_and_counted_when_allowed(tmp_path):
    def hide(sheet):
        sheet.row_dimensions[3].hidden = True

    def flatten(xml):
        return xml.replace('<row r="3"', '<row r="3" ht="0" customHeight="1"')

    for path in (
        book(tmp_path / "t.xlsx", CODES, hide),
        book(tmp_path / "flat.xlsx", CODES, patch=flatten),
    ):
        table, faults, _ = scan(path)
        assert faults == [(3, "hidden_row")] and len(table.rows) == 3


def test_hidden_columns_are_told_and_read_when_allowed(tmp_path):
    def hide(sheet):
        sheet.column_dimensions["B"].hidden = True
        sheet.column_dimensions["F"].hidden = True  # holds nothing

    def flatten(xml):
        hidden = '<cols><col min="2" max="3" width="0"/></cols>'
        return xml.replace("<sheetData>", hidden + "<sheetData>")

    for path, named in (
        (book(tmp_path / "t.xlsx", CODES, hide), "columns 2 are"),
        (book(tmp_path / "flat.xlsx", CODES, patch=flatten), "columns 2, 3 are"),
    ):
        table, faults, problems = scan(path)
        assert faults == [(None, "hidden_column")] and len(table.rows) == 3
        assert problems[0].text.startswith(named)
    assert not scan(book(tmp_path / "seen.xlsx", CODES))[1]


def strike(*cells):
    """Draws a line through cells, as an editor does."""
    font = pytest.importorskip("openpyxl.styles").Font

    def change(sheet):
        for cell in cells:
            sheet[cell].font = font(strike=True)

    return change


def test_struck_values_are_told_by_row_and_left_out_when_allowed(tmp_path):
    table, faults, problems = scan(book(tmp_path / "t.xlsx", CODES, strike("B2", "B3")))
    assert faults == [(2, "struck_out")], "the cell of row 3 has no value"
    assert problems[0].text.startswith("columns 2: the value is struck out")
    assert "S22" not in problems[0].text
    assert [row["image"] for row in table.rows] == ["", "b", "c"]


@pytest.mark.parametrize("rich", [True, False])
def test_struck_letters_of_a_cell_are_told(tmp_path, rich):
    """In the cell itself, or in the book's table of strings."""
    openpyxl = pytest.importorskip("openpyxl")
    text = openpyxl.cell.rich_text
    font = text.InlineFont(strike=rich)

    def change(sheet):
        block = text.TextBlock(font, "S22.41XA")
        sheet["B4"] = text.CellRichText(block, "; J93.9")

    _, faults, _ = scan(book(tmp_path / "t.xlsx", CODES, change))
    assert faults == [(4, "struck_out")] * rich


def test_a_struck_merged_cell_and_a_struck_header_are_told(tmp_path):
    def change(sheet):
        sheet.merge_cells("B2:B3")
        strike("B2")(sheet)

    assert scan(book(tmp_path / "t.xlsx", CODES, change))[1] == [
        (2, "struck_out"),
        (3, "struck_out"),
    ]
    struck = book(tmp_path / "head.xlsx", CODES, strike("B1"))
    assert scan(struck)[1] == [(None, "table")]


def test_a_line_that_is_switched_off_or_of_another_font_strikes_nothing(tmp_path):
    def off(sheet):
        styles = pytest.importorskip("openpyxl.styles")
        sheet["A1"].font = styles.Font(strike=True)  # then switched off in the XML
        sheet["B2"].font = styles.Font(bold=True)

    path = book(tmp_path / "t.xlsx", CODES, off)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert b"<strike" in members["xl/styles.xml"]
    for value in (b'<strike val="0" />', b'<strike val="false"/>'):
        styles = re.sub(rb"<strike[^>]*>", value, members["xl/styles.xml"])
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, styles if name == "xl/styles.xml" else data)
        assert not scan(path)[1]


def test_struck_letters_of_shared_strings_are_told():
    strings = (
        b"<sst><si><t>a</t></si><si/><si><r><rPr><strike/></rPr><t>b</t></r></si></sst>"
    )
    struck = strikes.read(b"", strings)
    assert struck.strings == {2}
    cells = (
        b'<c r="A1" t="s"><v>0</v></c><c r="AB7" t="s"><v>2</v></c>'
        b'<c r="C1"><v>2</v></c>'  # a number
    )
    assert struck.cells(cells) == {7: {28}}


@pytest.mark.parametrize("line", ["\n", "\r\n", ",,\n", " , \n", '""\n'])
def test_a_file_of_empty_rows_is_refused_at_the_limit(tmp_path, line, monkeypatch):
    monkeypatch.setattr(limits, "MAX_EMPTY", 200)
    path = tmp_path / "t.csv"
    path.write_text("image,patient_id,study_date\n" + line * 200 + "a.png,1,\n")
    table, faults, _ = scan(path)
    assert not faults and table.rows[-1]["image"] == "a.png"
    path.write_text("image,patient_id,study_date\n" + line * 1_000)
    table, faults, problems = scan(path)
    assert faults == [(None, "table")] and len(table.rows) == 200
    assert "empty rows" in problems[0].text


def test_a_stated_size_that_is_too_small_hides_no_row(tmp_path):
    def shrink(xml):
        return xml.replace('ref="A1:C4"', 'ref="A1:B2"')

    table, faults, _ = scan(book(tmp_path / "t.xlsx", CODES, patch=shrink))
    assert [row["helper"] for row in table.rows] == ["x", "y", "z"] and not faults


def test_of_two_sheets_the_named_one_is_read_or_none_is_chosen_in_silence(tmp_path):
    def two(title):
        def change(sheet):
            other = sheet.parent.create_sheet(title)
            other.append(("image", "codes"))
            other.append(("z", "I10"))

        return change

    _, faults, _ = scan(book(tmp_path / "t.xlsx", CODES, two("more")))
    assert faults == [(None, "table")]
    table, faults, _ = scan(book(tmp_path / "t.xlsx", CODES, two("T")))
    assert table.rows == [{"image": "z", "codes": "I10"}] and not faults


# ---- COCO

BOX = {"image_id": 1, "category_id": 1, "bbox": [10, 20, 5, 6]}


def coco(path, *items, images=None, categories=None):
    path.write_text(
        json.dumps(
            {
                "images": images or [{"id": 1, "file_name": "a.png"}],
                "categories": categories or [{"id": "1", "name": "rib"}],
                "annotations": items,
            }
        )
    )
    return path


def test_coco_rows_by_hand(tmp_path):
    polygon = {"image_id": "1", "category_id": 1, "segmentation": [[1, 2, 9, 2, 9, 8]]}
    table, faults, _ = scan(coco(tmp_path / "r.json", BOX, polygon))
    corners = [[row[n] for n in ("x0", "y0", "x1", "y1")] for row in table.rows]
    assert corners == [["10.0", "20.0", "15.0", "26.0"], ["1.0", "2.0", "9.0", "8.0"]]
    assert not faults and {row["site"] for row in table.rows} == {"rib"}


@pytest.mark.parametrize(
    "bad",
    [
        BOX | {"iscrowd": 1},
        BOX | {"image_id": 9},
        BOX | {"category_id": 9},
        BOX | {"bbox": [1, 2, 3]},
        BOX | {"bbox": [10, 20, 30, 50], "area": 20 * 30},  # two corners
        {"image_id": 1, "category_id": 1},
        {"image_id": 1, "category_id": 1, "segmentation": {"counts": "x"}},
        7,
    ],
)
def test_a_broken_annotation_is_told_by_row_and_the_next_is_read(tmp_path, bad):
    table, faults, _ = scan(coco(tmp_path / "r.json", bad, BOX))
    assert faults == [(2, "table")] and table.rows[1]["x1"] == "15.0"


@pytest.mark.parametrize("what", ["images", "categories"])
def test_repeated_ids_are_refused_with_the_boxes_that_they_leave_open(tmp_path, what):
    name = "file_name" if what == "images" else "name"
    twice = [{"id": 1, name: "a.png"}, {"id": 1, name: "b.png"}, {"id": 2, name: "c"}]
    other = BOX | {"image_id" if what == "images" else "category_id": 2}
    path = coco(tmp_path / "r.json", BOX, other, **{what: twice})
    table, faults, _ = scan(path)
    assert faults == [(None, "table"), (2, "table")] and table.rows[1]["x0"] == "10.0"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("image,patient_id,,codes\na,1,S22.3,J93\nb,2,,J93\n", "3"),
        ("image,patient_id,\na,1,\nb,2,\n", ""),
        (",image,patient_id\n0,a,1\n1,b,2\n7,c,3\n", ""),  # a data frame's index
        (",image,patient_id\n8070,a,1\n810,b,2\n", "1"),
        (",image,patient_id\nrib,a,1\n", "1"),
    ],
)
def test_a_column_without_a_name_is_told_if_it_holds_anything(tmp_path, text, places):
    path = tmp_path / "t.csv"
    path.write_text(text)
    _, faults, problems = scan(path)
    assert faults == [(None, "table")] * bool(places)
    assert all(p.text.startswith(f"column {places} has") for p in problems)


@pytest.mark.parametrize("nobody", [None, "", -1, "-1"])
def test_an_id_that_stands_for_none_joins_no_box_to_an_image(tmp_path, nobody):
    images = [{"id": nobody, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    box = {"image_id": nobody, "category_id": 1, "bbox": [1, 2, 3, 4]}
    path = coco(tmp_path / "t.json", box, {**box, "image_id": 2}, images=images)
    table, faults, _ = scan(path)
    assert faults == [(2, "table")] and table.rows[1]["image"] == "b.png"


@pytest.mark.parametrize(
    ("ids", "is_told"), [((1, 9999), True), ((9998, 9999), False), ((9999,), False)]
)
def test_an_id_of_nines_is_told_unless_others_are_next_to_it(tmp_path, ids, is_told):
    images = [{"id": i, "file_name": f"{i}.png"} for i in ids]
    box = {"image_id": ids[0], "category_id": 1, "bbox": [1, 2, 3, 4]}
    _, faults, _ = scan(coco(tmp_path / "t.json", box, images=images))
    assert faults == [(None, "table")] * is_told


def test_the_ends_of_a_cell_are_cut_the_same_for_every_character(tmp_path):
    """Plain cells go a short way; it is the long one for all characters."""
    points = [*range(1, 0x300), *range(0x2000, 0x2070), 0x3000, 0xFEFF, 0x5DE6]
    characters = [chr(p) for p in points if chr(p) not in '\n\r"']
    cells = [f" {c} a{c}b {c} " for c in characters]
    text = "\n".join(["image,note", *(f'i{k},"{c}"' for k, c in enumerate(cells))])
    path = tmp_path / "table.csv"
    path.write_text(text + "\n", encoding="utf-8")
    for row, cell in zip(formats.read_table(path).rows, cells, strict=True):
        lines = re.sub("[\v\f\x85\u2028\u2029]", "\n", cell)
        marks = "\ufeff\u200b\u200e\u200f"
        assert row["note"] == lines.strip().strip(marks).strip()


def test_an_escape_is_looked_for_within_cells_alone(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(",image,a,b\n0,i,x_x00,41_\n1,j,_x000A_,_x0009_z\n")
    assert formats.read_table(path).rows == [  # the column without a name is none
        {"image": "i", "a": "x_x00", "b": "41_"},
        {"image": "j", "a": "", "b": "z"},
    ]


LINES = [
    ["image,score", "a.png,0.5", "b.png,0.25"],
    ["image;score", " a.png ;0,5", "b.png;"],
    ["image\tscore", "a.png\t0.5", "b\u00e9.png\t1"],
    ['"image","score"', '"a, b.png","0.5"', 'c.png,"say ""1"""'],
    ["image,score", "a.png,0.5", "b.png"],  # cut
    ["image,score", "a.png,0.5,7", "b.png,1"],  # too wide
    ["image,score", "", "a.png,0.5", ",", "b.png,1"],  # empty rows
    ["image,image", "a.png,0.5"],
    ["image,,score", "a.png,x,0.5"],
    ["sep=;", "image;score", "a.png;0.5"],
    ["image,score", 'a.png,"0.5', "b.png,1"],  # a quote that stays open
    ["image,score", "a_x000D_.png,0.5"],
    ["image,score", "a\u200b.png,0.5", "b\x00.png,1"],
]


@pytest.mark.parametrize("lines", LINES, ids=range(len(LINES)))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("closed", [True, False])
def test_the_fast_way_reads_and_says_what_the_careful_way_does(
    lines, end, encoding, closed, tmp_path, monkeypatch
):
    path = tmp_path / "t.csv"
    text = end.join(lines) + end * closed
    path.write_bytes(text.encode(encoding, errors="replace"))
    fast = scan(path)
    monkeypatch.setattr(formats, "_plain_csv", lambda path: None)
    assert scan(path) == fast


def test_plain_tables_go_the_fast_way(tmp_path):
    for lines in LINES[:4]:
        (tmp_path / "t.csv").write_text("\n".join(lines))
        assert formats._plain_csv(tmp_path / "t.csv") is not None, lines
