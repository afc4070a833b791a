"""Tables for a paper: the same digits in each form, no text that is read as code."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from aals_jax.report import result_tables, wording
from tests.report.test_checklists import scoring

EVIL = "50 % of a_b & {c} \\ $x$ ~ ^ # | <b> *d* =1+1"


def table_result(**changes) -> dict:
    entry = {"value": 0.87654, "low": 0.8321, "high": 0.9144, "interval": "95 % x"}
    point = {
        "name": "specificity 0.90",
        "level": "image",
        "threshold": 0.123456,
        "measured": {"specificity": dict(entry), "sensitivity": dict(entry)},
    }
    defaults = {
        "title": "Scores",
        "disclaimer": "Research only.",
        "metrics": {
            "a": {"auroc": entry | {"definition": "d", "n_images": 1200}},
            "b": {
                "auroc": {"value": None, "reason": "one class", "n_images": 1200},
                "froc_count": {"value": 0.5, "low": None, "reason": "no interval"},
            },
        },
        "operating_points": {"a": [point], "b": [point | {"threshold": 0.2}]},
        "subgroups": {
            "a": [{"column": "sex", "group": "F", "metrics": {"auroc": dict(entry)}}]
        },
        "differences": [
            {
                "a": "a", "b": "b", "metric": "auroc", "value": -0.0312, "low": -0.06,
                "high": 0.0001, "p_value": 0.0004, "method": "95 % paired",
                "n_images": 1200,
            }
        ],
    }  # fmt: skip
    return scoring() | defaults | changes


def of_csv(result: dict) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result_tables.as_csv(result))))


def test_all_forms_have_the_same_digits():
    result = table_result()
    forms = [write(result) for _, write in result_tables.FORMATS.values()]
    by_form = [
        sorted(re.findall(r"\d\.\d{3}\b", text.replace("\\[", "["))) for text in forms
    ]
    assert by_form[0] == by_form[1] == by_form[2]
    rows = of_csv(result)
    assert rows[0]["value"] == wording.number(0.87654) == "0.877"
    assert "0.877 [0.832, 0.914]" in forms[0]


def test_a_row_of_csv_is_a_number_with_its_place():
    rows = of_csv(table_result())
    assert [row["part"] for row in rows] == [
        *["metric"] * 3, *["operating point"] * 6, "subgroup", "difference"
    ]  # fmt: skip
    assert (rows[0]["system"], rows[0]["n_images"]) == ("a", "1200")
    assert (rows[1]["value"], rows[1]["reason"]) == ("", "one class")
    assert (rows[2]["value"], rows[2]["low"]) == ("0.500", "")
    assert (rows[3]["name"], rows[3]["value"]) == ("Threshold", "0.1235")
    last = rows[-1]
    assert (last["value"], last["low"], last["high"]) == ("-0.031", "-0.060", "0.0001")
    assert (last["p_value"], last["place"]) == ("< 0.001", "95 % paired")


def test_systems_stand_side_by_side_where_they_have_the_same_number():
    lines = result_tables.as_markdown(table_result()).splitlines()
    (line,) = [line for line in lines if "| Sensitivity |" in line]
    assert line.count("0.877") == 2
    (threshold,) = [line for line in lines if "| Threshold |" in line]
    assert "| 0.1235 | 0.2 |" in threshold
    (auroc,) = [line for line in lines if line.startswith("| AUROC |")]
    assert auroc.endswith("(one class) |")
    (froc,) = [line for line in lines if line.startswith("| FROC score")]
    assert froc.endswith("| — | 0.500 (no interval) |")


def test_a_difference_has_its_sign_and_p_value():
    text = result_tables.as_latex(table_result())
    assert r"$-$0.031 [$-$0.060, +0.0001], p $<$ 0.001 \\" in text
    minus = wording.MINUS
    shown = f"{minus}0.031 \\[{minus}0.060, +0.0001\\], p \\< 0.001 |"
    assert shown in result_tables.as_markdown(table_result())


def evil_result() -> dict:
    """Every text that somebody may choose is evil."""
    result = table_result(title=EVIL)
    result["metrics"] = {EVIL: result["metrics"]["a"]}
    result["operating_points"] = {EVIL: result["operating_points"]["a"]}
    group = result["subgroups"]["a"][0] | {"column": EVIL, "group": f'{EVIL}\nx,"y'}
    result["subgroups"] = {EVIL: [group]}
    result["differences"] = [result["differences"][0] | {"a": EVIL, "b": "=cmd"}]
    return result


def test_latex_is_balanced_and_has_no_command_of_the_text():
    text = result_tables.as_latex(evil_result())
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[{}$&#%_\\]", "", body)  # what is escaped
    depth = 0
    for letter in plain:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    # ~ is a space that may not break; that of the text is a command
    assert not set('#%^_<>|"') & set(re.sub(r"\$[<>]\$", "", plain))
    commands = set(re.findall(r"\\([a-zA-Z]+)", body))
    assert commands == {
        "begin", "caption", "end", "toprule", "midrule", "bottomrule", "textbackslash",
        "textasciitilde", "textasciicircum", "textbar",
    }  # fmt: skip
    for table in re.findall(r"\\begin{tabular}{(l+)}(.*?)\\end{tabular}", plain, re.S):
        for line in table[1].splitlines():
            if "&" in line:
                assert line.count("&") == len(table[0]) - 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX")
def test_latex_sets_it(tmp_path):
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    text = f"{head}{result_tables.as_latex(evil_result())}\\end{{document}}\n"
    (tmp_path / "evil.tex").write_text(text)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "evil.tex"],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-1000:]
    assert b"Missing character" not in done.stdout


def test_markdown_has_as_many_cells_in_every_line():
    text = result_tables.as_markdown(evil_result())
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
    assert "<b>" not in text and "\\*d\\*" in text


def test_csv_runs_nothing_and_keeps_its_columns():
    rows = of_csv(evil_result())
    assert all(None not in row and None not in row.values() for row in rows)
    texts = [text for row in rows for text in row.values()]
    number = re.compile(r"-?[\d.]+")
    for text in texts:
        assert "\n" not in text
        assert text[:1] not in "=+-@" or not text or number.fullmatch(text), text
    evil = table_result(metrics={"=1+1": table_result()["metrics"]["a"]})
    assert of_csv(evil)[0]["system"] == "'=1+1"


def test_a_result_with_metrics_alone_has_one_table():
    bare = table_result(operating_points={}, subgroups={}, differences=[])
    assert result_tables.as_latex(bare).count(r"\begin{table}") == 1
    assert result_tables.as_markdown(bare).count("\n## ") == 1


def test_an_unknown_table_is_refused_with_those_that_there_are():
    assert result_tables.check(["csv", "csv", "latex"]) == ("csv", "latex")
    with pytest.raises(ValueError, match=r"called tex, md: use latex, markdown, csv"):
        result_tables.check(["tex", "csv", "md"])
