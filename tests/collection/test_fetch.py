"""Downloads from a web server of this process: what arrives whole, and what is refused without a trace."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import threading
import urllib.request
import zipfile
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path

import pytest
from processes import PATIENCE
from released_bundle import ARCHIVE, NAME

from radimagenet_monai.collection.bundle_files import BundleError, format_sums
from radimagenet_monai.collection.fetch import _SafeRedirects, _version_key, fetch_bundle
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.commands import bundles as commands
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError

Serve = Callable[..., str]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(url: str, out: Path, match: str, error: type[RadImageNetError] = BundleError, **options: object) -> None:
    with pytest.raises(error, match=match) as caught:
        fetch_bundle(url, out, **options)  # type: ignore[arg-type]  # options of several types
    assert "\n" not in str(caught.value)
    assert list(out.rglob("*")) == [], "a refused download left something behind"


def handler(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> type[http.server.BaseHTTPRequestHandler]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    return Answer


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_archive_beside_its_hashes(release: Path, serve: Serve, out: Path) -> None:
    base = serve(release)
    fetched = fetch_bundle(f"{base}/{ARCHIVE}", out)
    assert fetched.folder == out / NAME
    assert fetched.sha256 == digest(release / ARCHIVE)
    assert fetched.compared_with == f"{base}/SHA256SUMS"
    assert verify_bundle(out / NAME) == []
    assert [path.name for path in out.iterdir()] == [NAME]


def test_release_folder_with_and_without_a_name(release: Path, serve: Serve, out: Path) -> None:
    base = serve(release)
    assert fetch_bundle(base, out).folder == out / NAME
    assert fetch_bundle(f"{base}/", out, name=NAME).was_there
    assert fetch_bundle(release.as_uri(), out).was_there
    assert fetch_bundle((release / ARCHIVE).as_uri(), out, sha256=digest(release / ARCHIVE).upper()).was_there


def test_newest_version_and_the_need_for_a_name(tmp_path: Path, out: Path) -> None:
    names = ["a_v0.9.0.zip", "a_v0.10.0.zip", "a_v0.10.0rc1.zip", "b_v1.0.0.zip"]
    (tmp_path / "SHA256SUMS").write_text(format_sums(dict.fromkeys(names, "0" * 64)))
    refused(tmp_path.as_uri(), out, "several bundles; give --name, one of a, b", ConfigurationError)
    refused(tmp_path.as_uri(), out, "no bundle 'c'; give --name, one of a, b", ConfigurationError, name="c")
    refused(tmp_path.as_uri(), out, r"/a_v0\.10\.0\.zip: No such file", name="a")
    versions = ["0.9.0", "0.10.0rc1", "0.10.0", "0.10.1", "1.0"]
    assert sorted(versions, key=_version_key) == versions


def test_wrong_hash(release: Path, serve: Serve, out: Path, tmp_path: Path) -> None:
    url = f"{serve(release)}/{ARCHIVE}"
    refused(url, out, "but the SHA-256 that was given says 0{64}: it is damaged or another file", sha256="0" * 64)
    refused(url, out, "no SHA-256, expected 64 hexadecimal digits", ConfigurationError, sha256="abc")
    shutil.copytree(release, tmp_path / "changed")
    (tmp_path / "changed" / "SHA256SUMS").write_text(format_sums({ARCHIVE: "1" * 64}))
    refused(f"{serve(tmp_path / 'changed')}/{ARCHIVE}", out, "SHA256SUMS says 1{64}")


def test_no_hash_at_all(release: Path, serve: Serve, out: Path, tmp_path: Path) -> None:
    (tmp_path / "lone").mkdir()
    shutil.copy(release / ARCHIVE, tmp_path / "lone")
    url = f"{serve(tmp_path / 'lone')}/{ARCHIVE}"
    refused(url, out, r"no hash to compare .* answered 404 .*give --sha256, or --unverified true")
    fetched = fetch_bundle(url, out, unverified=True)
    assert fetched.compared_with is None
    assert fetched.sha256 == digest(release / ARCHIVE)
    (tmp_path / "lone" / "SHA256SUMS").write_text(format_sums({"other.zip": "0" * 64}))
    with pytest.raises(BundleError, match=r"is not in .*SHA256SUMS; give --sha256"):
        fetch_bundle(url, out)


def test_truncated_download(release: Path, serve: Serve, out: Path) -> None:
    data = (release / ARCHIVE).read_bytes()

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: len(data) // 2])

    url = f"{serve(handler=handler(answer))}/{ARCHIVE}"
    refused(
        url, out, f"ended after {len(data) // 2:,} of {len(data):,} bytes; try again", sha256=digest(release / ARCHIVE)
    )


def test_download_without_a_stated_size_is_limited(release: Path, serve: Serve, out: Path) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write((release / ARCHIVE).read_bytes())

    url = f"{serve(handler=handler(answer))}/{ARCHIVE}"
    sha256 = digest(release / ARCHIVE)
    refused(url, out, "more than 1,000 bytes; the download was stopped", sha256=sha256, max_bytes=1000)
    assert fetch_bundle(url, out, sha256=sha256).folder == out / NAME


def test_stated_sizes_beyond_the_limit_and_the_disk(release: Path, serve: Serve, out: Path) -> None:
    stated = 2**60

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(stated))
        request.end_headers()

    url = f"{serve(handler=handler(answer))}/{ARCHIVE}"
    refused(url, out, "expected at most", sha256="0" * 64)
    refused(url, out, "bytes free, .* are needed", sha256="0" * 64, max_bytes=2**61)
    refused(url, out, "SHA256SUMS is larger than")


def test_redirects_are_followed_but_not_to_files(release: Path, serve: Serve, out: Path) -> None:
    base = serve(release)
    target = ""

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", target or f"{base}{request.path}")
        request.end_headers()

    url = f"{serve(handler=handler(answer))}/{ARCHIVE}"
    assert fetch_bundle(url, out).folder == out / NAME
    shutil.rmtree(out / NAME)
    target = (release / ARCHIVE).as_uri()
    refused(url, out, "302", sha256=digest(release / ARCHIVE))


def test_redirects_from_https_to_http_are_not_followed() -> None:
    request = urllib.request.Request(f"https://example.org/{ARCHIVE}")
    with pytest.raises(BundleError, match=r"leads to http://example\.org/, which is not encrypted"):
        _SafeRedirects().redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), "http://example.org/")


def test_servers_that_do_not_answer(release: Path, serve: Serve, out: Path) -> None:
    done = threading.Event()

    def hang(request: http.server.BaseHTTPRequestHandler) -> None:
        done.wait(PATIENCE)

    url = f"{serve(handler=handler(hang))}/{ARCHIVE}"
    refused(url, out, "cannot be read: .*timed out", sha256="0" * 64, timeout=0.2)
    done.set()
    refused(f"{serve(release)}/none_v1.0.0.zip", out, "answered 404", sha256="0" * 64)
    refused(f"http://127.0.0.1:1/{ARCHIVE}", out, "cannot be read: .*refused", sha256="0" * 64)
    # A server without TLS answers in plain text.
    refused(f"{serve(release).replace('http:', 'https:')}/{ARCHIVE}", out, "cannot be read: .*SSL", sha256="0" * 64)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a_v1.0.0.zip", "a_v1.0.0.zip", "http:///a_v1.0.0.zip", "file://host/a_v1.0.0.zip"]
)
def test_what_is_no_address(url: str, out: Path) -> None:
    refused(url, out, "is no address", ConfigurationError, sha256="0" * 64)


def test_archive_of_another_name(release: Path, out: Path) -> None:
    refused(f"{release.as_uri()}/bundle.zip", out, "is not called as a bundle's archive", ConfigurationError)


def test_traversal_is_refused_although_its_hash_is_right(serve: Serve, out: Path, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / ARCHIVE, "w") as archive:
        archive.writestr(f"{NAME}/LICENSE", "x")
        archive.writestr(f"{NAME}/../../evil.txt", "x")
    (tmp_path / "served" / "SHA256SUMS").write_text(format_sums({ARCHIVE: digest(tmp_path / "served" / ARCHIVE)}))
    refused(f"{serve(tmp_path / 'served')}/{ARCHIVE}", out, "is refused: dangerous: member .* leaves the folder")
    assert not (tmp_path / "evil.txt").exists()


def test_something_else_is_not_overwritten(release: Path, out: Path) -> None:
    (out / NAME).mkdir()
    (out / NAME / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="exists and is not this bundle; move it away"):
        fetch_bundle(release.as_uri(), out)
    assert [path.name for path in out.rglob("*")] == [NAME, "thesis.tex"]


def test_runs_in_a_fetched_bundle_do_not_make_it_another(release: Path, out: Path) -> None:
    fetch_bundle(release.as_uri(), out)
    (out / NAME / "output").mkdir()
    assert fetch_bundle(release.as_uri(), out).was_there
    (out / NAME / "configs" / "train.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="is not this bundle"):
        fetch_bundle(release.as_uri(), out)


def test_command(release: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.fetch(release.as_uri(), str(out))
    commands.fetch(f"{release.as_uri()}/{ARCHIVE}", str(out), digest(release / ARCHIVE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f", as in {release.as_uri()}/SHA256SUMS")
    assert lines[1] == str(out / NAME)
    assert lines[2].endswith(", as in the SHA-256 that was given")
    assert lines[3] == f"{out / NAME} (was there already)"
