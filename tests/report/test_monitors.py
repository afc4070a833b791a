"""The section on the teacher: each number with its set, each gap with its reason."""

import pytest

from aals_jax.report import monitors, page, plots

REASON = "no image of P has a box in the dataset"
WARNING = "Sharpening has nothing to sharpen: <b>&"


def entry(value, **others):
    return {
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "definition": "a share",
        "n_images": 37,
        **others,
    }


def make_monitors():
    missing = {"value": None, "low": None, "high": None, "reason": REASON}
    return {
        "center": 0.4,
        "moments": {"pretrained": "at the start", "teacher": "at the end"},
        "peaks": {
            "pretrained": {"peak_in_box_p": missing, "peak_in_box": entry(0.613)},
            "teacher": {
                "peak_in_box_p": missing,
                "peak_in_box": entry(0.724, reason="no width"),
            },
        },
        "targets": {"lift_largest": {"value": 0.217, "definition": "the most"}},
        "histograms": {
            "pretrained": {"P, training": [3, 1, 0, 0], "negatives": [0, 0, 0, 0]},
            "teacher": {"P, training": [0, 1, 1, 2], "negatives": [5, 0, 0, 0]},
        },
        "bin_edges": [0.0, 0.25, 0.5, 0.75, 1.0],
    }


def render(**result):
    plain = {"title": "rib", "data": {"source": "phantom"}, "metrics": {}, **result}
    return page.render(result=plain, curves={})


@pytest.fixture(scope="module")
def html():
    return render(monitors=make_monitors(), warnings=[WARNING])


def test_each_number_stands_with_its_interval_set_and_definition(html):
    for text in ("0.613", "0.513 to 0.713", "0.724", "37\N{NO-BREAK SPACE}images"):
        assert text in html
    assert "Peak in a box, validation" in html and "a share" in html
    assert html.count("no width") == 1
    assert "0.217" in html and "the most" in html


def test_what_is_missing_says_why_in_each_column(html):
    assert html.count(REASON) == 2


def test_a_warning_stands_above_the_notes_and_is_escaped(html):
    assert "<b>&" not in html
    assert html.index("Sharpening has nothing") < html.index("<nav")


def test_a_page_without_monitors_has_neither_section_nor_warning():
    html = render()
    assert 'id="monitors"' not in html and 'class="banner warning"' not in html


def test_a_histogram_names_its_sets_with_their_numbers_and_t():
    start, end = monitors.histograms(make_monitors())
    assert [name for name, *_ in start.legend] == ["P, training", "negatives"]
    assert [number[0] for *_, number in start.legend] == ["4", "0"]
    assert start.note == "at the start; the vertical line is t = 0.4"
    assert "half of P, training from 0.00 up" in start.alt
    assert "half of P, training from 0.50 up" in end.alt
    assert start.drawing.body != end.drawing.body


def test_a_bin_is_drawn_at_its_share_of_the_set_between_its_edges(monkeypatch):
    lines, draw_line = [], plots.draw_line

    def draw(axes, line, **options):
        lines.append(line)
        draw_line(axes, line, **options)

    monkeypatch.setattr(plots, "draw_line", draw)
    monitors.histograms(make_monitors())
    first, *others = lines
    assert len(others) == 2  # the empty set has no line
    assert first.x.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert first.y.tolist() == [0.75, 0.25, 0.0, 0.0, 0.0]


def test_the_same_monitors_give_the_same_bytes():
    assert render(monitors=make_monitors()) == render(monitors=make_monitors())
