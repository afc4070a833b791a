"""A real archive: Orthanc with its DICOMweb plugin, in a folder of its own."""

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import free_port

PROGRAM = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")  # Debian's place
MISSING = "" if PROGRAM and PLUGIN.exists() else "no Orthanc with DICOMweb is installed"
_START_S = 60.0


class Orthanc:
    """A server that runs, with one account; asked here by Orthanc's own interface."""

    user, password = "tester", "a word of the test"

    def __init__(self, port: int):
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/dicom-web"
        self._session = requests.Session()
        self._session.auth = (self.user, self.password)

    def ask(self, method: str, path: str, **options: Any) -> Any:
        content = self.content(path, method=method, **options)
        return json.loads(content) if content else None

    def content(self, path: str, *, method: str = "GET", **options: Any) -> bytes:
        answer = self._session.request(
            method, f"{self._root}{path}", timeout=30, **options
        )
        answer.raise_for_status()
        return answer.content

    def put(self, *paths: Path) -> None:
        for path in paths:
            self.ask("POST", "/instances", data=path.read_bytes())

    def objects(self, modality: str) -> list[dict[str, str]]:
        """Tags of all objects of a modality."""
        return [
            self.ask("GET", f"/instances/{one['ID']}/simplified-tags")
            for one in self.find("Instance", Modality=modality)
        ]

    def find(self, level: str, **query: str) -> list[dict[str, Any]]:
        asked = {"Level": level, "Query": query, "Expand": True}
        return self.ask("POST", "/tools/find", json=asked)

    def delete_study(self, uid: str) -> None:
        for study in self.find("Study", StudyInstanceUID=uid):
            self.ask("DELETE", f"/studies/{study['ID']}")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Orthanc]:
    """An Orthanc on this machine alone, which keeps its files in a folder."""
    port = free_port()
    orthanc = Orthanc(port)
    config = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(PLUGIN)],
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {orthanc.user: orthanc.password},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(config))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen(
            [str(PROGRAM), str(folder / "orthanc.json")],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ends = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(requests.ConnectionError):
                orthanc.ask("GET", "/system")
                break
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError((folder / "orthanc.log").read_text())
            time.sleep(0.05)
        yield orthanc
    finally:
        process.terminate()
        process.wait(30)
