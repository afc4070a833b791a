"""Laws of films from an archive: each is answered once, whatever is killed, and one
film's fault is its own."""

import copy
import dataclasses
import datetime
import json
import os
import re
import signal
import time
from pathlib import Path

import pydicom
import pytest
from ml_collections import ConfigDict

from aals_jax.handover import ledger, pacs, predict, station, written
from aals_jax.handover.ledger import Ledger
from data.cxr_registry.guard import failures
from data.reading_room import dicomweb
from data.reading_room.dicomweb import Archive, Instance
from tests.support import canaries, dicomweb_server, orthanc, planted, registry_files
from tests.support.processes import ROOT, Process

FILMS = 3
EVER = "1900-01-01"
MANY = 50


@pytest.fixture(scope="module")
def station_of(exported):
    """A station for any folder; the net is compiled once for all of them."""
    options = station.Options(out=Path(), workers=0, sr=True, same_uids=True)
    desk = station.Station(exported.model, options, load_config=ConfigDict)
    assert desk._net  # compiled here

    def of(out: Path, **changes) -> station.Station:
        out.mkdir(exist_ok=True)
        own = copy.copy(desk)
        own.options = dataclasses.replace(options, out=out, **changes)
        return own

    return of


@pytest.fixture(scope="module")
def phantom(exported) -> list[Path]:
    (registry,) = exported.data_dir.glob("phantom*")
    return sorted((registry / "images").glob("*"))


@pytest.fixture
def server(phantom):
    with dicomweb_server.running() as running:
        running.put(*phantom[:FILMS])
        yield running


@pytest.fixture(autouse=True)
def nobody_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in list(os.environ):
        if name.startswith("AALS_DICOMWEB"):
            monkeypatch.delenv(name)


def asked(url: str, **changes) -> pacs.Asked:
    given = {"study": "", "since": EVER, "watch_s": None, "allow": ()} | changes
    if given["study"]:
        given["since"] = ""
    return pacs.asked(url, **given)


def states(out: Path) -> list[str]:
    """What became of each film, by number."""
    found = {}
    for line in (out / ledger.NAME).read_text().splitlines():
        row = json.loads(line)
        if "state" in row:
            found[row["film"]] = row["state"]
    return [found[number] for number in sorted(found)]


def of_film(server, modality: str) -> list[str]:
    """The films that the objects of a modality are about."""
    sequence = {
        "SR": "CurrentRequestedProcedureEvidenceSequence",
        "OT": "SourceImageSequence",
    }[modality]
    films = []
    for one in server.of_modality(modality):
        item = one[sequence][0]
        if modality == "SR":
            item = item.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
        films.append(str(item.ReferencedSOPInstanceUID))
    return sorted(films)


def uids_of(paths) -> list[str]:
    return sorted(str(pydicom.dcmread(path).SOPInstanceUID) for path in paths)


def test_every_film_has_one_report_and_one_capture_in_its_study(
    server, station_of, phantom, tmp_path
):
    desk = station_of(tmp_path / "out")
    for _ in range(2):
        assert pacs.answer(desk, asked(server.url)) is True
        assert of_film(server, "SR") == of_film(server, "OT") == uids_of(phantom[:3])
    assert len(server.objects) == 3 * FILMS
    for report in server.of_modality("SR"):
        (film,) = (f for f in phantom[:3] if uids_of([f]) == of_report(report))
        source = pydicom.dcmread(film)
        for name in ("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber"):
            assert report[name].value == source[name].value
    stored = sum(method == "POST" for method, _, _ in server.asked)
    assert stored == FILMS and states(desk.options.out) == [ledger.STORED] * FILMS


def of_report(report) -> list[str]:
    series = report.CurrentRequestedProcedureEvidenceSequence[
        0
    ].ReferencedSeriesSequence
    return [str(series[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]


def test_films_of_an_archive_have_the_findings_of_their_files(
    server, station_of, phantom, tmp_path
):
    """And nothing that names the patient stays here, but in the ledger."""
    there, here = (
        station_of(tmp_path / "there"),
        station_of(tmp_path / "here", sr=False),
    )
    assert pacs.answer(there, asked(server.url))
    assert predict.predict(here, phantom[:FILMS])
    by_number = {
        json.loads(line)["film"]: json.loads(line)["instance"]
        for line in (tmp_path / "there" / ledger.NAME).read_text().splitlines()
        if "instance" in json.loads(line)
    }
    of_file = {uids_of([path])[0]: n for n, path in enumerate(phantom[:FILMS], start=1)}
    for number, uid in by_number.items():
        first = station.done(tmp_path / "there", number)
        second = station.done(tmp_path / "here", of_file[uid])
        assert first and second and first["stored"] == ["sr", "sc"]
        changed = {"film", "stored", "files"}
        assert {k: v for k, v in first.items() if k not in changed} == {
            k: v for k, v in second.items() if k not in changed
        }
    left = [path.name for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert not [name for name in left if name.endswith(".dcm")]
    assert (tmp_path / "there" / ledger.NAME).stat().st_mode & 0o777 == 0o600
    page = (tmp_path / "there" / station.PAGE).read_text()
    assert "ledger.jsonl, which is for its owner alone" in page


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_kill_beside_the_store_leaves_one_report(
    server, station_of, phantom, tmp_path, monkeypatch, place
):
    """Between store and ledger lies the moment in which a film is stored and open."""
    desk = station_of(tmp_path / "out")

    class Killed(BaseException):
        pass

    settle, store = Ledger.settle, Archive.store

    def killed(*arguments, **options):
        raise Killed

    name = "settle" if place == "after" else "store"
    with monkeypatch.context() as patched:
        patched.setattr(Ledger if place == "after" else Archive, name, killed)
        with pytest.raises(Killed):
            pacs.answer(desk, asked(server.url))
    assert (settle, store) == (Ledger.settle, Archive.store)
    first = {uid: one.to_json() for uid, one in server.objects.items()}
    assert len(first) == FILMS + (2 if place == "after" else 0)
    assert pacs.answer(desk, asked(server.url)) is True
    assert of_film(server, "SR") == of_film(server, "OT") == uids_of(phantom[:3])
    # what was stored twice is the same to the last byte
    assert {uid: server.objects[uid].to_json() for uid in first} == first


def test_without_its_ledger_a_film_gets_no_second_report(server, station_of, tmp_path):
    for name in ("a", "b"):
        assert pacs.answer(station_of(tmp_path / name), asked(server.url))
        assert len(server.objects) == 3 * FILMS


def test_one_films_fault_is_its_own_and_is_mended_later(
    server, station_of, phantom, tmp_path, caplog
):
    broken = uids_of(phantom[1:2])[0]
    wrong = (500, {}, b"Quaxolotl")
    server.fault = lambda method, path: (
        wrong if method == "GET" and path.endswith(broken) else None
    )
    desk = station_of(tmp_path / "out")
    assert pacs.answer(desk, asked(server.url)) is False
    assert of_film(server, "SR") == sorted({*uids_of(phantom[:FILMS])} - {broken})
    number = 1 + states(tmp_path / "out").index(ledger.OPEN)
    (line,) = (r.message for r in caplog.records if r.levelname == "WARNING")
    assert line == (
        f"film {number} was not fetched: the server answered 500, Internal Server Error"
    )
    server.fault = lambda method, path: None
    assert pacs.answer(desk, asked(server.url)) is True
    assert of_film(server, "SR") == uids_of(phantom[:FILMS])


def test_an_answer_that_is_not_taken_is_offered_again_without_reading_the_film(
    server, station_of, tmp_path, monkeypatch, caplog
):
    server.fault = lambda method, path: (500, {}, b"") if method == "POST" else None
    desk = station_of(tmp_path / "out")
    assert pacs.answer(desk, asked(server.url)) is False
    assert states(tmp_path / "out") == [ledger.OPEN] * FILMS
    assert caplog.text.count("was not stored: 2 of 2 objects were not kept") == FILMS
    server.fault = lambda method, path: None
    monkeypatch.setattr(Archive, "fetch", None)
    assert pacs.answer(desk, asked(server.url)) is True
    assert len(server.objects) == 3 * FILMS


@pytest.mark.parametrize("when", ["listed", "fetched"])
def test_a_study_that_is_deleted_meanwhile_stays_deleted(
    server, station_of, phantom, tmp_path, monkeypatch, caplog, when
):
    """An answer to a film that is gone would bring its patient back."""
    gone = uids_of(phantom[1:2])[0]
    fetch = Archive.fetch

    def fetch_and_delete(self, film, path):
        if when == "listed" and film.instance == gone:
            del server.objects[gone]
        fetch(self, film, path)
        if film.instance == gone:
            del server.objects[gone]

    monkeypatch.setattr(Archive, "fetch", fetch_and_delete)
    desk = station_of(tmp_path / "out")
    assert pacs.answer(desk, asked(server.url)) is False
    assert of_film(server, "SR") == sorted({*uids_of(phantom[:FILMS])} - {gone})
    number = 1 + states(tmp_path / "out").index(ledger.GONE)
    (line,) = (r.message for r in caplog.records if r.levelname == "WARNING")
    assert re.match(rf"film {number} was|the answer to film {number} was not", line)
    assert "archive" in line
    assert not list((tmp_path / "out").rglob("*.dcm"))
    monkeypatch.setattr(Archive, "fetch", fetch)
    server.put(phantom[1])  # and comes back
    assert pacs.answer(desk, asked(server.url)) is True
    assert of_film(server, "SR") == uids_of(phantom[:FILMS])


def test_a_film_that_cannot_be_read_is_refused_once_and_again_where_it_is_named(
    server, station_of, tmp_path, caplog
):
    path = registry_files.write(
        tmp_path / "a.dcm",
        registry_files.film(0),
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.4",
        StudyDate="20210304",
        PhotometricInterpretation="PALETTE COLOR",
    )
    server.put(path)
    desk = station_of(tmp_path / "out")
    assert pacs.answer(desk, asked(server.url)) is False
    assert states(tmp_path / "out").count(ledger.REFUSED) == 1
    assert len(server.of_modality("SR")) == FILMS
    assert pacs.answer(desk, asked(server.url)) is True  # nothing is new
    assert pacs.answer(desk, asked(server.url, study="1.2.3")) is False
    assert pacs.answer(desk, asked(server.url, study="1.2.4")) is False
    assert "there is no such study, or no radiograph in it" in caplog.text
    assert "1.2.4" not in caplog.text


def test_a_wrong_password_ends_it_at_once(server, station_of, tmp_path):
    """Trying on may lock the account, so that a watch ends too."""
    server.fault = lambda method, path: (401, {}, b"")
    desk = station_of(tmp_path / "out")
    with pytest.raises(dicomweb.NoAccess, match="refuses access") as caught:
        pacs.answer(desk, asked(server.url, watch_s=1.0))
    assert len(server.asked) == 1
    assert failures.message(caught.value) == str(caught.value)


def test_a_watch_goes_on_when_the_server_is_back(
    server, station_of, phantom, tmp_path, monkeypatch, caplog
):
    """And says once that it is away; films that come later are read too."""
    rounds = []

    class Enough(Exception):
        pass

    def sleep(seconds):
        rounds.append(len(server.of_modality("SR")))
        server.fault = lambda method, path: (500, {}, b"") if len(rounds) < 3 else None
        if len(rounds) == 3:
            server.put(phantom[FILMS])
        if len(rounds) == 5:
            raise Enough

    monkeypatch.setattr(pacs.time, "sleep", sleep)
    server.fault = lambda method, path: (500, {}, b"")
    with pytest.raises(Enough):
        pacs.answer(station_of(tmp_path / "out"), asked(server.url, watch_s=1.0))
    assert rounds == [0, 0, 0, FILMS + 1, FILMS + 1]
    assert caplog.text.count("answered 500, Internal Server Error") == 1


def test_a_study_that_grows_is_listed_again_and_one_that_does_not_is_not(
    server, station_of, phantom, tmp_path, monkeypatch
):
    lists = []
    films = Archive.films
    monkeypatch.setattr(
        Archive, "films", lambda self, study: lists.append(study) or films(self, study)
    )

    def sleep(seconds):
        lists.append("")
        if lists.count("") == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(pacs.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        pacs.answer(station_of(tmp_path / "out"), asked(server.url, watch_s=1.0))
    # once since they are new, once since they have their answers, and no more
    assert "".join("s" if study else "," for study in lists) == "sss,sss,,,,"


def test_nobody_is_named_but_in_the_ledger(station_of, tmp_path, caplog, capfd):
    registry = planted.registry(tmp_path / "hospital", images=4)
    out = tmp_path / "out"
    caplog.set_level("DEBUG")
    with dicomweb_server.running() as server:
        for path in sorted(registry.rglob("kanari-datei-*.dcm")):
            if path.read_bytes()[128:132] == b"DICM":
                server.put(path)
        broken = next(iter(server.objects))
        server.fault = lambda method, path: (
            (500, {}, b"") if method == "GET" and path.endswith(broken) else None
        )
        pacs.answer(station_of(out), asked(server.url, since="1800-01-01"))
        assert len(server.of_modality("SR")) >= 2
    words = {**planted.WORDS, "uid": [*server.objects]}
    search = canaries.Search(words)
    (out / ledger.NAME).unlink()
    assert search.below(out) == {}
    said = caplog.text + "".join(capfd.readouterr())
    assert not search.in_bytes(said.encode("utf-8", "backslashreplace"))


# --- the ledger


def films_of(count: int) -> list[Instance]:
    return [Instance("1.2", "1.2.3", f"1.2.3.{k}") for k in range(count)]


def test_the_ledger_is_whole_after_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / ledger.NAME
    book = Ledger(path)
    book.add(films_of(3))
    book.settle(2, ledger.STORED, answers=["2.25.1"])
    book.close()
    whole = path.read_bytes()
    for cut in (1, 5, 40):
        path.write_bytes(whole + b'{"film": 3, "state": "stored", "at": "2026"}'[:cut])
        book = Ledger(path)
        assert [entry.number for entry in book.open()] == [1, 3]
        book.settle(3, ledger.STORED)
        book.add(films_of(4))
        book.close()
        again = Ledger(path)
        assert [again.state(f) for f in films_of(5)] == [
            ledger.OPEN, ledger.OPEN, ledger.OPEN, ledger.OPEN, ""
        ]  # fmt: skip
        again.close()


@pytest.mark.parametrize(
    "line",
    [
        b"junk",
        b'{"film": 1, "state": "open", "study": "1", "series": "1", "instance": "9"}',
        b'{"film": 9, "state": "stored"}',
        b'{"film": 1, "state": "lost"}',
    ],
)
def test_a_damaged_ledger_is_refused(tmp_path, line):
    path = tmp_path / ledger.NAME
    book = Ledger(path)
    book.add(films_of(2))
    book.close()
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(ValueError, match="is damaged: choose another --out"):
        Ledger(path)


def test_a_new_film_never_gets_the_number_of_files_that_are_there(
    server, station_of, tmp_path
):
    """Else another film's findings would be taken for its own."""
    out = tmp_path / "out"
    assert pacs.answer(station_of(out), asked(server.url))
    (out / ledger.NAME).unlink()
    assert pacs.answer(station_of(out), asked(server.url))
    assert written.numbers(out) == [*range(1, 2 * FILMS + 1)]


@pytest.mark.parametrize("text", ["", "yesterday", "12", "3w", "2026-11-30T08:00Z"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"--since=.*give 2026-11-30"):
        pacs.parse_since(text)


def test_a_span_moves_with_the_clock():
    now = datetime.datetime(2026, 11, 30, 6)
    assert pacs.parse_since("12h").at(now) == datetime.datetime(2026, 11, 29, 18)
    assert pacs.parse_since("7d").at(now) == datetime.datetime(2026, 11, 23, 6)
    fixed = pacs.parse_since("2026-11-30T08:00")
    assert fixed.at(now) == datetime.datetime(2026, 11, 30, 8)


# --- a real archive


@pytest.mark.skipif(bool(orthanc.MISSING), reason=orthanc.MISSING)
def test_orthanc_gets_each_report_once_though_the_watch_is_killed_twice(
    exported, phantom, station_of, tmp_path, monkeypatch
):
    films = phantom[:MANY]
    out = tmp_path / "out"
    with orthanc.running(tmp_path) as archive:
        archive.put(*films)
        command = [
            str(ROOT / "launch.py"), "--mode=predict", f"--model={exported.model}",
            f"--dicomweb={archive.url}", f"--since={EVER}", "--watch=1",
            f"--out={out}", "--workers=0", "--batch_size=4",
        ]  # fmt: skip
        environ = {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / ".xla"),
            "AALS_DICOMWEB_USER": archive.user,
            "AALS_DICOMWEB_PASSWORD": archive.password,
        }

        book = out / ledger.NAME

        def watch(until: int, end: signal.Signals) -> int:
            process = Process(command, cwd=tmp_path, environ=environ)
            try:
                while not process.has_ended:
                    if book.exists() and book.read_text().count("stored") >= until:
                        break
                    time.sleep(0.05)
                process.signal(end)
                return process.end(limit_s=60)
            finally:
                process.signal(signal.SIGKILL)

        assert watch(10, signal.SIGKILL) == -signal.SIGKILL
        assert watch(25, signal.SIGKILL) == -signal.SIGKILL
        assert len(archive.find("Instance", Modality="SR")) < MANY
        assert watch(MANY, signal.SIGTERM) == 75
        reports, captures = archive.objects("SR"), archive.objects("OT")
        assert len(reports) == len(captures) == MANY
        about = [of_tags(report) for report in reports]
        assert sorted(about) == uids_of(films)
        assert len({report["StudyInstanceUID"] for report in reports}) == MANY

        monkeypatch.setenv("AALS_DICOMWEB_USER", archive.user)
        monkeypatch.setenv("AALS_DICOMWEB_PASSWORD", "wrong")
        with pytest.raises(dicomweb.NoAccess, match=r"refuses access .401"):
            pacs.answer(station_of(tmp_path / "other"), asked(archive.url))
        # a study that goes away between its listing and its answer
        monkeypatch.setenv("AALS_DICOMWEB_PASSWORD", archive.password)
        fetch = Archive.fetch

        def fetch_and_delete(self, film, path):
            fetch(self, film, path)
            archive.delete_study(film.study)

        monkeypatch.setattr(Archive, "fetch", fetch_and_delete)
        study = reports[0]["StudyInstanceUID"]
        desk = station_of(tmp_path / "other")
        assert pacs.answer(desk, asked(archive.url, study=study)) is False
        assert archive.find("Study", StudyInstanceUID=study) == []
        assert states(tmp_path / "other") == [ledger.GONE]


def of_tags(report) -> str:
    evidence = report["CurrentRequestedProcedureEvidenceSequence"][0]
    series = evidence["ReferencedSeriesSequence"][0]
    return series["ReferencedSOPSequence"][0]["ReferencedSOPInstanceUID"]
