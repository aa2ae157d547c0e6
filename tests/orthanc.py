"""A real archive for tests: Orthanc with its DICOMweb plugin, in a folder of its own."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Orthanc:
    """An archive that can be started, killed and started again with what it holds.

    Args:
        folder: for database, settings and log.
        user: name and password that it asks for; None to let everybody in.
        settings: further ones of its configuration file.
    """

    def __init__(self, folder: Path, user: tuple[str, str] | None = None, **settings: Any) -> None:
        program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
        if program is None or not PLUGIN.is_file():
            pytest.skip("Orthanc is not installed (Debian packages orthanc and orthanc-dicomweb)")
        self.dicom_port, self.http_port = free_port(), free_port()
        self.log, self.user = folder / "log", user
        self._command = [program, str(folder / "orthanc.json")]
        self._server: subprocess.Popen[bytes] | None = None
        given = {
            "Name": "test",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True},
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": user is not None,
            "AuthenticationEnabled": user is not None,
            "RegisteredUsers": dict([user]) if user else {},
            "OverwriteInstances": False,
        }
        (folder / "orthanc.json").write_text(json.dumps(given | settings))

    def start(self) -> Orthanc:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(self._command, stdout=log, stderr=log)
        for _ in range(600):
            if self._server.poll() is not None:
                pytest.fail(f"Orthanc ended with {self._server.returncode}:\n{self.log.read_text()[-3000:]}")
            try:
                self.get("/system")
                return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        pytest.fail(f"Orthanc did not answer:\n{self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End it in an orderly way."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(60)
            self._server = None

    def kill(self) -> None:
        """End it at once."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        self._server = None

    def get(
        self, path: str, accept: str = "*/*", method: str = "GET", body: bytes | None = None
    ) -> tuple[str, bytes]:
        """Content type and body of an answer."""
        headers = {"Accept": accept}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(self.user).encode()).decode()
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers["Content-Type"], answer.read()
