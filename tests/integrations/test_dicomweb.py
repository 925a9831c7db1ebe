"""DICOMweb against Debian's Orthanc with its plug-in, and against small servers that misbehave."""

from __future__ import annotations

import datetime
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from clinic_images import lesion, order, program, series
from processes import wait_until

from radimagenet_monai.catalog.codes import MALIGNANT
from radimagenet_monai.core.errors import DicomOutputError, UnreadableImageError, UsageError
from radimagenet_monai.integrations.dicom_output import (
    Finding,
    Model,
    Segment,
    Stored,
    burn_outline,
    dicomweb,
    fetch_series,
    find_series,
    store_instances,
    write_report,
    write_secondary_capture,
    write_segmentation,
)

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed (extra: dicom)")
pytestmark = pytest.mark.slow

MODEL = Model("breast_mass_us_segmentation", "0.2.0", "0f" * 32)
CREATED = datetime.datetime(2026, 3, 2, 8, 30)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DICOMweb root of an Orthanc of its own, on loopback."""
    server = program("Orthanc")
    if not PLUGIN.is_file():
        pytest.skip("Orthanc's DICOMweb plug-in is not installed (Debian: orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"tester": "secret@word"},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([server, str(folder / "orthanc.json")], stdout=log, stderr=log)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, "Orthanc answers")
        yield f"http://tester:secret%40word@127.0.0.1:{port}/dicom-web/"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.long
def test_a_series_in_and_results_out(orthanc: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sent, _ = series(tmp_path / "scanner")
    assert all(answer.stored for answer in store_instances(orthanc, sent))
    source = pydicom.dcmread(sent[0])

    # In by WADO: the study is looked up, nothing is changed on the way.
    files = fetch_series(orthanc, None, source.SeriesInstanceUID, tmp_path / "fetched")
    assert len(files) == len(sent)
    by_uid = {pydicom.dcmread(file).SOPInstanceUID: pydicom.dcmread(file) for file in sent}
    for file in files:
        assert pydicom.dcmread(file) == by_uid[pydicom.dcmread(file).SOPInstanceUID]

    # Out by STOW, found by QIDO, and read again.
    number = [int(pydicom.dcmread(file).InstanceNumber) - 1 for file in files]
    masks = lesion()[number]
    out = tmp_path / "out"
    written = write_segmentation(files, masks, [Segment("lesion"), Segment("cyst")], MODEL, out / "seg.dcm", CREATED)
    finding = Finding("malignant", MALIGNANT, 0.75, 0.5, "positive")
    written.append(write_report(files, [finding], MODEL, out / "sr.dcm", CREATED))
    picture = burn_outline(np.zeros(masks.shape[1:], np.uint8), masks[0])
    written.append(write_secondary_capture(files[0], picture, MODEL, out / "sc.dcm", frame=None, created=CREATED))
    assert store_instances(orthanc, written) == [Stored(str(path), True) for path in written]
    for modality, path in zip(("SEG", "SR", "OT"), written, strict=True):
        (found,) = find_series(orthanc, study_uid=source.StudyInstanceUID, modality=modality)
        assert found.series_uid == pydicom.dcmread(path).SeriesInstanceUID
        assert found.instances == 1
        (again,) = fetch_series(orthanc, found.study_uid, found.series_uid, tmp_path / modality)
        assert pydicom.dcmread(again) == pydicom.dcmread(path)
    stored = highdicom.seg.segread(next((tmp_path / "SEG").iterdir()))
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    back = stored.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    np.testing.assert_array_equal(back, masks)

    # The same result again is the same instance: nothing is added.
    later = write_segmentation(files[::-1], masks[::-1], [Segment("lesion"), Segment("cyst")], MODEL, out / "later.dcm")
    assert all(answer.stored for answer in store_instances(orthanc, later))
    assert len(find_series(orthanc, study_uid=source.StudyInstanceUID)) == 4
    (found,) = find_series(orthanc, modality="SEG")
    assert found.instances == 1
    assert capfd.readouterr().err == "", "no progress bar where there is no terminal"


@pytest.mark.long
def test_what_the_page_says_is_typed(orthanc: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/how-to/dicom_output.md on archives, with this server's address."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "dicom_output.md").read_text(encoding="utf-8")
    (block,) = [block for block in page.split("```")[1::2] if "find_series" in block]
    monkeypatch.chdir(tmp_path)
    sent, _ = series(Path("scanner"))
    store_instances(orthanc, sent)
    write_segmentation(sent, lesion()[order(6)], [Segment("lesion"), Segment("cyst")], MODEL, "results/seg.dcm")
    write_report(sent, [Finding("malignant", MALIGNANT, 0.75, 0.5, "positive")], MODEL, "results/sr.dcm")
    code = block.removeprefix("python").replace("http://localhost:8042/dicom-web", orthanc)
    said: list[tuple[str, str]] = []
    exec(code, {"print": lambda *words: said.append(words)})
    assert said == [("stored", "results/seg.dcm"), ("stored", "results/sr.dcm")]
    assert len(list(Path("fetched").iterdir())) >= len(sent)


@pytest.mark.long
def test_what_is_there_is_not_fetched_again(orthanc: str, tmp_path: Path) -> None:
    sent, _ = series(tmp_path / "scanner")
    store_instances(orthanc, sent)
    source = pydicom.dcmread(sent[0])
    names = source.StudyInstanceUID, source.SeriesInstanceUID
    files = fetch_series(orthanc, *names, tmp_path / "fetched")
    before = {file: file.stat().st_mtime_ns for file in files}
    files[2].unlink()
    assert fetch_series(orthanc, *names, tmp_path / "fetched") == files
    assert [file for file in files if file.stat().st_mtime_ns != before[file]] == [files[2]]
    assert not [path for path in (tmp_path / "fetched").iterdir() if path.suffix != ".dcm"]


@pytest.mark.long
def test_orthancs_refusals_are_told_in_one_line(orthanc: str, tmp_path: Path) -> None:
    for problem, message in (
        (lambda: fetch_series(orthanc, None, "1.2.3", tmp_path), r"it has no series 1\.2\.3; check the UID"),
        (lambda: fetch_series(orthanc, "1.2.4", "1.2.3", tmp_path), r"no images of series 1\.2\.3 in study 1\.2\.4"),
        (lambda: find_series(orthanc.replace("dicom-web", "nothing")), "answers 404 Not Found; is this the root"),
        (lambda: find_series(orthanc.replace("tester:", "other:")), "answers 401 Unauthorized; it asks for a login"),
    ):
        with pytest.raises(DicomOutputError, match=message) as caught:
            problem()
        assert "secret" not in str(caught.value)
    sent, _ = series(tmp_path / "scanner")
    broken = pydicom.dcmread(sent[1])
    del broken.SOPInstanceUID
    broken.save_as(sent[1])
    answers = store_instances(orthanc, sent)
    assert [answer.stored for answer in answers] == [True, False, True, True, True, True]
    assert answers[1].reason


Answer = tuple[int, str, bytes]


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[str], Answer]], str]]:
    """Starts a server whose answers depend on the request line and login; gives its address."""
    running = []

    def start(answer: Callable[[str], Answer]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = answer(f"{self.command} {self.path} {self.headers.get('Authorization')}")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = respond  # noqa: N815  # names of the standard library

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{running[-1].server_port}/dicom-web"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


JSON = "application/dicom+json"


def test_a_failure_is_told_for_each_instance(server: Any, tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in", shape=(4, 8, 8))
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0x0122]}}]}}
    answers = iter([(200, {}), (202, failed), (409, failed), (500, {})])

    def answer(_: str) -> Answer:
        status, body = next(answers)
        return status, JSON, json.dumps(body).encode()

    found = store_instances(server(answer), files)
    unsupported = "the server does not support its class"
    assert found == [
        Stored(str(files[0]), True),
        Stored(str(files[1]), False, unsupported),
        Stored(str(files[2]), False, unsupported),
        Stored(str(files[3]), False, "the server answers 500 Internal Server Error"),
    ]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a busy server is asked again."""
    monkeypatch.setattr(dicomweb, "_PAUSE", 1)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_dies_does_not_make_forget_what_was_stored(server: Any, tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in", shape=(3, 8, 8))
    answers = iter([(200, JSON, b"{}"), (403, "text/plain", b""), (503, "text/plain", b"")])
    found = store_instances(server(lambda _: next(answers, (503, "text/plain", b""))), files)
    assert [answer.stored for answer in found] == [True, False, False]
    assert "403 Forbidden" in found[1].reason
    assert "too busy" in found[2].reason


def test_a_server_that_sends_less_than_it_lists_is_caught(server: Any, tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in", shape=(3, 8, 8))
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    one = pydicom.dcmread(files[0])

    def answer(request: str) -> Answer:
        if "/instances" in request:
            offset = "offset=0" in request
            listed = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid in uids] if offset else []
            return 200, JSON, json.dumps(listed).encode()
        body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + files[0].read_bytes() + b"\r\n--b--"
        return 200, 'multipart/related; type="application/dicom"; boundary="b"', body

    url = server(answer)
    with pytest.raises(DicomOutputError, match=r"lists 3 images .* and sent 1; what came is kept"):
        fetch_series(url, str(one.StudyInstanceUID), str(one.SeriesInstanceUID), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{uids[0]}.dcm"]


def test_names_that_a_server_gives_cannot_leave_the_folder(server: Any, tmp_path: Path) -> None:
    listed = json.dumps([{"00080018": {"vr": "UI", "Value": ["../../outside"]}}]).encode()
    url = server(lambda request: (200, JSON, listed if "offset=0" in request else b"[]"))
    with pytest.raises(DicomOutputError, match="without a valid SOP Instance UID"):
        fetch_series(url, "1.2.3", "1.2.4", tmp_path / "out")


@pytest.mark.usefixtures("impatient")
def test_other_servers_and_addresses_are_refused(server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    page = server(lambda _: (200, "text/html", b"<html>Welcome</html>"))
    with pytest.raises(DicomOutputError, match="does not answer as a DICOMweb service does"):
        find_series(page)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://user:hidden@127.0.0.1:{free.getsockname()[1]}/dicom-web"
    with pytest.raises(DicomOutputError, match="the connection was refused; is the server running") as caught:
        fetch_series(closed, None, "1.2.3", tmp_path)
    assert "hidden" not in str(caught.value)
    for wrong in ("localhost:8042/dicom-web", "ftp://host/dicom-web", "file:///etc", ""):
        with pytest.raises(UsageError, match="not the URL of a DICOMweb service"):
            find_series(wrong)
    with pytest.raises(UsageError, match="not a DICOM UID"):
        fetch_series(page, None, "../1", tmp_path)
    text = tmp_path / "a.txt"
    text.write_text("no DICOM")
    with pytest.raises(UnreadableImageError, match=r"a\.txt"):
        store_instances(closed, [text])
    assert caplog.records == [], "a traceback of each attempt would bury the one line"


@pytest.mark.parametrize("pages", [1, 3])
def test_a_server_is_asked_until_it_has_nothing_new(server: Any, pages: int) -> None:
    """One answers page by page, another gives all at once whatever offset it is asked for."""
    found = [
        {"0020000D": {"vr": "UI", "Value": ["1.2"]}, "0020000E": {"vr": "UI", "Value": [f"1.2.{n}"]}} for n in range(9)
    ]
    asked = []

    def answer(request: str) -> Answer:
        asked.append(request)
        offset = int(request.partition("offset=")[2].partition(" ")[0].partition("&")[0])
        part = found if pages == 1 else found[offset : offset + 3]
        return 200, JSON, json.dumps(part).encode()

    assert [series.series_uid for series in find_series(server(answer))] == [f"1.2.{n}" for n in range(9)]
    assert len(asked) == pages + 1


def test_headers_are_sent(server: Any) -> None:
    seen = []

    url = server(lambda request: (seen.append(request), (200, JSON, b"[]"))[1])
    assert find_series(url, modality="SR", patient_id="7", headers={"Authorization": "Bearer token"}) == []
    assert "Modality=SR" in seen[0]
    assert "PatientID=7" in seen[0]
    assert seen[0].endswith("Bearer token")
