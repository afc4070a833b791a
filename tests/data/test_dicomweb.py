"""Laws of an archive over DICOMweb: what it lists, gives and keeps, and that neither a
fault nor a log line quotes it."""

import datetime
import shutil
import subprocess
import urllib.parse

import pydicom
import pytest

from data.cxr_registry.dicom import reader
from data.cxr_registry.guard import failures
from data.reading_room import access, dicomweb
from data.reading_room.dicomweb import Archive, Fault, Gone, NoAccess, Unreachable
from tests.support import dicomweb_server, registry_files

LONG_AGO = datetime.datetime(1990, 1, 1)
NAME, DAY = "Quaxolotl^Zyx", "20210304"


def film(path, number: int, **changes):
    """A film of the study `number // 2`."""
    study = f"1.2.826.99.{number // 2}"
    fields = {
        **registry_files.WINDOW,
        "SOPClassUID": pydicom.uid.DigitalXRayImageStorageForPresentation,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.1",
        "SOPInstanceUID": f"{study}.1.{number}",
        "Modality": "DX",
        "StudyDate": DAY,
        "StudyTime": f"{8 + number // 2 % 12:02d}3000",
        "PatientName": NAME,
        "PatientID": "quaxo-4711",
    }
    pixels = registry_files.film(number)
    return registry_files.write(path / f"{number}.dcm", pixels, **fields | changes)


@pytest.fixture
def server():
    with dicomweb_server.running() as running:
        yield running


@pytest.fixture
def films(server, tmp_path):
    """Six films in three studies, and an SR in the first of them."""
    sr = {
        "Modality": "SR",
        "StudyInstanceUID": "1.2.826.99.0",
        "SeriesInstanceUID": "1.2.826.99.0.2",
        "StudyTime": "083000",
    }
    paths = [film(tmp_path, number) for number in range(6)]
    server.put(*paths, film(tmp_path, 98, **sr))
    return paths


_opened: list[Archive] = []


def archive(server, *, environment=None, timeout_s=5.0, allow=()) -> Archive:
    url = access.checked_address(server.url)
    made = Archive(
        url,
        access.session(url, environment=environment or {}),
        modalities=reader.modalities(allow),
        timeout_s=timeout_s,
    )
    _opened.append(made)
    return made


@pytest.fixture(autouse=True)
def no_rests(monkeypatch):
    """Retries follow at once; connections are closed."""
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)
    yield
    while _opened:
        _opened.pop().close()


@pytest.fixture(autouse=True)
def nobody_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))


def told(caplog, capfd, *errors) -> str:
    text = " ".join(failures.message(error) for error in errors)
    return text + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("pages, most", [(True, 1000), (True, 2), (False, 1000)])
def test_every_film_is_listed_once_however_the_server_pages(server, films, pages, most):
    server.pages, server.most = pages, most
    asked = archive(server)
    studies = asked.studies(LONG_AGO)
    assert sorted(studies) == [("1.2.826.99.0", 3)] + [
        (f"1.2.826.99.{k}", 2) for k in (1, 2)
    ]
    found = [one for study in studies for one in asked.films(study.uid)]
    assert sorted(one.instance for one in found) == [
        f"1.2.826.99.{k // 2}.1.{k}" for k in range(6)
    ]


@pytest.mark.parametrize(
    "since, expected",
    [
        ("2021-03-04", 3),
        ("2021-03-04T09:30", 2),
        ("2021-03-04T10:30:01", 0),
        ("2021-03-05", 0),
        ("2021-03-03T23:59", 3),
    ],
)
def test_since_is_a_time_of_the_studies(server, films, since, expected):
    moment = datetime.datetime.fromisoformat(since)
    assert len(archive(server).studies(moment)) == expected


def test_a_study_without_a_time_is_of_its_whole_day(server, tmp_path):
    server.put(film(tmp_path, 0, StudyTime=""))
    late = datetime.datetime(2021, 3, 4, 23, 59)
    assert archive(server).studies(late) == [("1.2.826.99.0", 1)]
    server.counts = False
    assert archive(server).studies(late) == [("1.2.826.99.0", None)]


def test_a_film_comes_as_it_is_kept(server, films, tmp_path):
    asked = archive(server)
    (first, second) = asked.films("1.2.826.99.1")
    asked.fetch(first, tmp_path / "a")
    assert pydicom.dcmread(tmp_path / "a") == pydicom.dcmread(films[2])
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    accepts = [h["Accept"] for _, path, h in server.asked if path.endswith("1.2")]
    assert accepts == ['multipart/related; type="application/dicom"; transfer-syntax=*']
    assert asked.has(first) and asked.has(second)
    del server.objects[first.instance]
    assert not asked.has(first)
    with pytest.raises(Gone, match="not in the archive, or no longer"):
        asked.fetch(first, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_another_object_than_the_film_is_refused(server, films, tmp_path):
    asked = archive(server)
    (first, second) = asked.films("1.2.826.99.1")
    server.objects[first.instance] = server.objects[second.instance]
    with pytest.raises(Fault, match="another object than it was asked for"):
        asked.fetch(first, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "status, kind, text",
    [
        (400, Fault, "answered 400, Bad Request"),
        (401, NoAccess, "refuses access .401, Unauthorized.: set AALS_DICOMWEB_USER"),
        (403, Fault, "refuses access .403, Forbidden.: ask who runs it"),
        (410, Gone, "no longer .410"),
        (500, Fault, "answered 500, Internal Server Error"),
        (599, Fault, "answered 599"),
    ],
)
def test_a_status_is_told_in_one_line_without_the_servers_words(
    server, films, tmp_path, caplog, capfd, status, kind, text
):
    caplog.set_level("DEBUG")
    asked = archive(server)
    (first, _) = asked.films("1.2.826.99.0")
    server.fault = lambda method, path: (status, {}, NAME.encode())
    with pytest.raises(kind, match=text) as fetching:
        asked.fetch(first, tmp_path / "a")
    assert fetching.type is kind
    with pytest.raises(Fault) as listing:
        asked.studies(LONG_AGO)
    said = told(caplog, capfd, fetching.value, listing.value)
    assert "\n" not in str(fetching.value)
    for word in (NAME, "4711", "1.2.826", DAY, "127.0.0.1"):
        assert word not in said


@pytest.mark.parametrize(
    "body, text",
    [
        (b"<html>Quaxolotl", "no DICOM JSON: is this its DICOMweb address"),
        (b'{"Quaxolotl": 1}', ""),
        (b'["Quaxolotl"]', ""),
    ],
)
def test_an_answer_of_another_kind_is_a_fault_or_nothing(server, body, text):
    server.fault = lambda method, path: (200, {}, body)
    if not text:
        found = archive(server).studies(LONG_AGO)
        assert found in ([], [("", None)])
        return
    with pytest.raises(Fault, match=text):
        archive(server).studies(LONG_AGO)


def test_what_is_no_dicom_or_has_no_valid_uids_is_a_fault(server, films, tmp_path):
    asked = archive(server)
    (first, _) = asked.films("1.2.826.99.0")
    server.fault = lambda method, path: (200, *dicomweb_server.multipart(b"junk"))
    with pytest.raises(Fault, match="can't be read"):
        asked.fetch(first, tmp_path / "a")
    with pytest.raises(Fault, match="UIDs are not valid"):
        asked.films("1.02.x/../3")


def test_a_busy_server_is_asked_again_and_a_lost_one_is_told(server, films):
    busy = [503, 502, 429]
    server.fault = lambda method, path: (busy.pop(), {}, b"") if busy else None
    assert len(archive(server).studies(LONG_AGO)) == 3 and not busy
    server.fault = lambda method, path: (503, {}, b"")
    before = len(server.asked)
    with pytest.raises(Fault, match="answered 503, Service Unavailable"):
        archive(server).studies(LONG_AGO)
    assert len(server.asked) == before + 5


def test_no_server_is_one_clear_line(server, caplog, capfd):
    caplog.set_level("DEBUG")
    asked = archive(server)
    server.url = server.url.replace("127.0.0.1", "127.0.0.2")
    nobody = archive(server, timeout_s=0.5)
    with pytest.raises(Unreachable, match="no connection to the server") as caught:
        nobody.studies(LONG_AGO)
    assert told(caplog, capfd, caught.value).count("127.0.0") == 0
    assert asked.studies(LONG_AGO) == []


def test_a_redirect_is_not_followed(server, films):
    """Neither films nor passwords go to an address that nobody gave."""
    with dicomweb_server.running() as other:
        where = {"Location": other.url + "/studies"}
        server.fault = lambda method, path: (302, where, b"")
        with pytest.raises(Unreachable, match="sends to another address"):
            archive(server).studies(LONG_AGO)
        assert other.asked == []


# --- storing


def answers(tmp_path, study="1.2.826.99.0"):
    changes = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.7"}
    return [film(tmp_path, k, **changes, Modality="SR") for k in (50, 51)]


def test_what_is_stored_is_there_and_storing_again_changes_nothing(
    server, films, tmp_path
):
    asked = archive(server)
    for _ in range(2):
        stored = asked.store("1.2.826.99.0", answers(tmp_path))
        assert len(stored) == 2 and all(map(asked.has, stored))
        assert len(server.objects) == 9


def test_an_answer_goes_into_no_other_study(server, films, tmp_path):
    with pytest.raises(Fault, match="of another study"):
        archive(server).store("1.2.826.99.1", answers(tmp_path))
    assert len(server.objects) == 7


def _partly(status: int, uids, reason: int = 0xA700):
    answer = pydicom.Dataset()
    answer.FailedSOPSequence = []
    for one in uids:
        item = pydicom.Dataset()
        item.ReferencedSOPInstanceUID, item.FailureReason = one, reason
        answer.FailedSOPSequence.append(item)
    kind = {"Content-Type": "application/dicom+json"}
    return status, kind, answer.to_json().encode()


def test_objects_that_are_not_kept_are_told_with_the_servers_code(
    server, films, tmp_path
):
    paths = answers(tmp_path)
    server.put(paths[0])
    uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in paths]
    partly = _partly(202, uids[1:])
    server.fault = lambda method, path: partly if method == "POST" else None
    with pytest.raises(Fault, match=r"1 of 2 objects were not kept.*0xA700"):
        archive(server).store("1.2.826.99.0", paths)
    refused = _partly(409, uids)
    server.fault = lambda method, path: refused if method == "POST" else None
    with pytest.raises(Fault, match=r"1 of 2 .* not kept: the server answered 409"):
        archive(server).store("1.2.826.99.0", paths)
    server.put(paths[1])  # the server refuses what it has already
    assert len(archive(server).store("1.2.826.99.0", paths)) == 2


# --- who asks


def test_credentials_come_from_the_environment(server, films):
    user = {access.USER: "mia", access.PASSWORD: "schlüssel"}
    archive(server, environment=user).studies(LONG_AGO)
    archive(server, environment={access.TOKEN: "abc"}).studies(LONG_AGO)
    archive(server).studies(LONG_AGO)
    sent = [head.get("Authorization") for _, _, head in server.asked]
    assert sent[::2] == ["Basic bWlhOnNjaGzDvHNzZWw=", "Bearer abc", None]
    for wrong in ({access.USER: "mia"}, user | {access.TOKEN: "abc"}):
        with pytest.raises(ValueError, match=f"set .*{access.USER}"):
            access.session(server.url, environment=wrong)


def test_credentials_come_from_a_netrc_file_of_their_owner(server, films, tmp_path):
    path = tmp_path / "secrets"
    named = {"NETRC": str(path)}
    with pytest.raises(ValueError, match="a file that is not there"):
        archive(server, environment=named)
    path.write_text("machine 127.0.0.1 login mia password word\n")
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        archive(server, environment=named)
    path.chmod(0o600)
    archive(server, environment=named).studies(LONG_AGO)
    assert server.asked[-1][2]["Authorization"] == "Basic bWlhOndvcmQ="
    # a default entry is for servers that its owner trusts, which may not be this one
    path.write_text("default login mia password word\n")
    archive(server, environment=named).studies(LONG_AGO)
    assert "Authorization" not in server.asked[-1][2]
    path.write_text("machine 127.0.0.1 quaxolotl\n")
    with pytest.raises(ValueError, match="NetrcParseError") as caught:
        archive(server, environment=named)
    assert "quaxolotl" not in str(caught.value)


def test_requests_own_search_for_a_netrc_file_is_off(
    server, films, tmp_path, monkeypatch
):
    path = tmp_path / ".netrc"
    path.write_text("default login mia password word\n")
    path.chmod(0o600)
    archive(server).studies(LONG_AGO)
    assert "Authorization" not in server.asked[-1][2]


@pytest.mark.parametrize(
    "url, text",
    [
        ("pacs.example/dicom-web", "is no address"),
        ("ftp://pacs.example/", "is no address"),
        ("https://[::1/", "is no address"),
        ("https://mia:word@pacs.example/", "netrc file"),
        ("https://pacs.example/?a=b", "has . or # in it"),
        ("http://pacs.example/dicom-web", "use https, or --allow plain_http"),
    ],
)
def test_an_address_that_would_tell_or_lead_astray_is_refused(url, text):
    with pytest.raises(ValueError, match=text) as caught:
        access.checked_address(url)
    assert "word" not in str(caught.value).replace("passwords", "").replace(
        "PASSWORD", ""
    ).replace("password", "")


def test_addresses_that_may_be_asked():
    for url in ("https://pacs.example/a", "http://localhost:8042/a", "http://[::1]/a"):
        assert access.checked_address(url + "/") == url
    plain = "http://pacs.example/a"
    assert access.checked_address(plain, allow=(access.PLAIN,)) == plain


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on the path")
def test_a_certificate_has_to_be_one_that_is_trusted(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    asked = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    written = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", *asked.split(), "subjectAltName=IP:127.0.0.1", *written],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    with dicomweb_server.running(certificate=both) as server:
        assert urllib.parse.urlsplit(server.url).scheme == "https"
        with pytest.raises(Unreachable, match="certificate can't be verified"):
            archive(server).studies(LONG_AGO)
        assert server.asked == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert archive(server).studies(LONG_AGO) == []


def test_its_own_answers_are_no_films(server, films, tmp_path):
    series = {"SeriesInstanceUID": "1.2.826.99.0.9", "Modality": "OT"}
    server.put(film(tmp_path, 0, **series, Manufacturer="aals_jax"))
    assert len(archive(server).films("1.2.826.99.0")) == 1
    asked = archive(server, allow=("modality",))
    with pytest.raises(dicomweb.Own):
        for one in asked.films("1.2.826.99.0"):
            asked.fetch(one, tmp_path / "a")
