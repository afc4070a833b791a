"""A small DICOMweb server in memory, which can be told to go wrong.

It knows what the tests need of QIDO, WADO and STOW and nothing more; Orthanc is there
to show that a real archive agrees.
"""

import contextlib
import http.server
import io
import json
import re
import ssl
import threading
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from pydicom import datadict

ROOT = "/dicom-web"
_LEVELS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_SHOWN = (*_LEVELS, "StudyDate", "StudyTime", "Modality", "PatientName", "PatientID")


class Server:
    """What is stored, what was asked, and what goes wrong."""

    def __init__(self):
        self.objects: dict[str, pydicom.Dataset] = {}  # by SOPInstanceUID
        self._fields: dict[str, dict[str, str]] = {}  # what a search shows of each
        self.asked: list[tuple[str, str, dict[str, str]]] = []  # method, path, headers
        # answers (status, headers, body) in place of the server; None: the server does
        self.fault: Callable[[str, str], tuple[int, dict, bytes] | None] = (
            lambda method, path: None
        )
        self.counts = True  # NumberOfStudyRelatedInstances
        self.pages = True  # limit and offset
        self.most = 1000  # rows of an answer
        self.url = ""

    def put(self, *paths: Path) -> list[pydicom.Dataset]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of what is wrong on purpose
            added = [pydicom.dcmread(path) for path in paths]
            for one in added:
                self._add(one)
        return added

    def _add(self, one: pydicom.Dataset) -> None:
        uid = str(one.SOPInstanceUID)
        self.objects[uid] = one
        self._fields[uid] = {n: str(one[n].value) for n in _SHOWN if n in one}

    def of_modality(self, modality: str) -> list[pydicom.Dataset]:
        return [
            one for uid, one in self.objects.items()
            if self._fields[uid].get("Modality") == modality
        ]  # fmt: skip

    def answer(self, method: str, target: str, body: bytes, kind: str):
        parts = urllib.parse.urlsplit(target)
        if wrong := self.fault(method, target):
            return wrong
        uids = re.findall(r"/(?:studies|series|instances)/([\d.]+)", parts.path)
        if method == "POST":
            return self._store(body, kind)
        if len(uids) == 3:
            return self._retrieve(uids)
        query = dict(urllib.parse.parse_qsl(parts.query))
        return self._search(len(uids), uids, query)

    def _matching(self, uids) -> list[str]:
        return [
            uid
            for uid in list(self.objects)
            if all(
                self._fields[uid].get(name) == asked
                for name, asked in zip(_LEVELS, uids, strict=False)
            )
        ]

    def _search(self, level: int, uids, query):
        found = {}
        day = query.get("StudyDate", "0-").rstrip("-")
        for uid in self._matching(uids):
            fields = self._fields[uid]
            if fields.get("StudyDate", "") < day:
                continue
            if query.get("SOPInstanceUID") not in (None, uid):
                continue
            key = fields[_LEVELS[level]]
            names = (*_SHOWN[: level + 1], *_SHOWN[3:])
            row: dict[str, object] = {n: fields[n] for n in names if n in fields}
            if level == 0 and self.counts:
                row["NumberOfStudyRelatedInstances"] = len(self._matching([key]))
            found[key] = {
                f"{datadict.tag_for_keyword(name):08X}": {
                    "vr": datadict.dictionary_VR(name), "Value": [value]
                }
                for name, value in row.items()
            }  # fmt: skip
        rows = list(found.values())
        if self.pages:
            first = int(query.get("offset", 0))
            rows = rows[first : first + int(query.get("limit", self.most))]
        text = json.dumps(rows[: self.most]).encode()
        return 200, {"Content-Type": "application/dicom+json"}, text

    def _retrieve(self, uids):
        found = self._matching(uids)
        if not found:
            return 404, {}, b"no such instance " + uids[-1].encode()
        return 200, *multipart(as_bytes(self.objects[found[0]]))

    def _store(self, body: bytes, kind: str):
        mark = re.search(r'boundary="?([^";]+)', kind)
        assert mark
        answer = pydicom.Dataset()
        answer.ReferencedSOPSequence = []
        for part in body.split(b"--" + mark[1].encode())[1:-1]:
            one = pydicom.dcmread(io.BytesIO(part.partition(b"\r\n\r\n")[2]))
            item = pydicom.Dataset()
            item.ReferencedSOPClassUID = one.SOPClassUID
            item.ReferencedSOPInstanceUID = one.SOPInstanceUID
            answer.ReferencedSOPSequence.append(item)
            self._add(one)
        text = json.dumps(answer.to_json_dict()).encode()
        return 200, {"Content-Type": "application/dicom+json"}, text


def as_bytes(one: pydicom.Dataset) -> bytes:
    content = io.BytesIO()
    one.save_as(content, enforce_file_format=True)
    return content.getvalue()


def multipart(content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer with one object."""
    head = b"--mark\r\nContent-Type: application/dicom\r\n\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=mark'
    return {"Content-Type": kind}, head + content + b"\r\n--mark--"


@contextlib.contextmanager
def running(*, certificate: Path | None = None) -> Iterator[Server]:
    """A server on this machine.

    Args:
      certificate: a file with key and certificate: the server speaks TLS.
    """
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self):
            server.asked.append((self.command, self.path, dict(self.headers)))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kind = self.headers.get("Content-Type", "")
            status, fields, text = server.answer(self.command, self.path, body, kind)
            self.send_response(status)
            for name, value in {**fields, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _answer

        def log_message(self, format, *args):
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            pass  # a client that hangs up is what some tests are about

    made = Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    server.url = f"{scheme}://127.0.0.1:{made.server_port}{ROOT}"
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
