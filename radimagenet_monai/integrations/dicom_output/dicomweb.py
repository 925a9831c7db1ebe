"""Series from a DICOMweb server and results back to it: QIDO-RS, WADO-RS and STOW-RS (PS3.18) by dicomweb-client."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from radimagenet_monai.core.atomic import atomic_open
from radimagenet_monai.core.errors import (
    ConfigurationError,
    DicomOutputError,
    RadImageNetError,
    UnreadableImageError,
    UsageError,
)
from radimagenet_monai.io.dicom.files import load_dataset
from radimagenet_monai.io.failures import anonymous, quiet_libraries

_PATIENCE = 60.0  # seconds until a server that is silent counts as gone
_PAUSE = 250  # milliseconds before a busy server (429, 503) is asked again, doubled each time
_UID = re.compile(r"\d+(\.\d+)*")
_AS_STORED = (("application/dicom", "*"),)
# Failure Reason (0008,1197), PS3.18 table I.2-2.
_REASONS = {
    0xA700: "the server is out of resources",
    0xA900: "the instance does not match its class",
    0xC000: "the server cannot understand it",
    0xC122: "the server does not support its transfer syntax",
    0x0110: "the server failed to process it",
    0x0122: "the server does not support its class",
}


@dataclass(frozen=True)
class FoundSeries:
    """A series on a server. ``instances`` is ``None`` if the server does not count."""

    study_uid: str
    series_uid: str
    modality: str
    description: str
    instances: int | None


@dataclass(frozen=True)
class Stored:
    """What became of a file sent to a server; ``reason`` is empty if it was stored."""

    file: str
    stored: bool
    reason: str = ""


def find_series(
    url: str,
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    modality: str | None = None,
    patient_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[FoundSeries]:
    """Series on a server that match all that is given, by QIDO-RS.

    Parameters
    ----------
    url
        Root of the DICOMweb service, for example ``http://localhost:8042/dicom-web``. A user name and password in it
        (``http://user:password@host/...``) are used to log in and are never shown.
    headers
        HTTP headers to send, for example ``{"Authorization": "Bearer ..."}``.

    Raises
    ------
    UsageError
        If the URL is not one of HTTP.
    DicomOutputError
        If the server cannot be reached or refuses.
    ConfigurationError
        If dicomweb-client is not installed.
    """
    wanted = {"SeriesInstanceUID": series_uid, "Modality": modality, "PatientID": patient_id}
    filters = {keyword: value for keyword, value in wanted.items() if value is not None}
    filters |= {"StudyInstanceUID": study_uid} if study_uid is not None else {}
    with _talking(url):
        answers = _all_pages(
            "0020000E",
            _client(url, headers).search_for_series,
            search_filters=filters,
            fields=["StudyInstanceUID", "SeriesDescription", "NumberOfSeriesRelatedInstances"],
        )
    return [
        FoundSeries(
            _first(answer, "0020000D"),
            _first(answer, "0020000E"),
            _first(answer, "00080060"),
            _first(answer, "0008103E"),
            int(_first(answer, "00201209")) if _first(answer, "00201209") else None,
        )
        for answer in answers
    ]


def fetch_series(
    url: str,
    study_uid: str | None,
    series_uid: str,
    folder: str | os.PathLike[str],
    *,
    progress: bool = True,
    headers: Mapping[str, str] | None = None,
) -> list[Path]:
    """Fetch a series by WADO-RS, as stored on the server.

    Files are complete or absent; those of an earlier, interrupted call are not fetched again.

    Parameters
    ----------
    url, headers
        As in `find_series`.
    study_uid
        Study Instance UID; if ``None``, the server is asked for the study of the series.
    series_uid
        Series Instance UID.
    folder
        Where the files are written, named by their SOP Instance UID.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    list of pathlib.Path
        All files of the series.

    Raises
    ------
    UsageError
        If the URL is not one of HTTP, or an argument is not a UID.
    DicomOutputError
        If the server cannot be reached or refuses, has no such series, or sends less or something else than it lists.
    ConfigurationError
        If dicomweb-client is not installed.
    """
    from tqdm import tqdm

    for uid in (study_uid, series_uid):
        if uid is not None and not _UID.fullmatch(uid):
            raise UsageError(f"'{uid}' is not a DICOM UID, which consists of numbers and dots")
    where = _shown(url)
    if study_uid is None:
        study_uid = _study_of(url, series_uid, headers)
    with _talking(url):
        client = _client(url, headers)
        listed = _all_pages("00080018", client.search_for_instances, study_uid, series_uid)
    uids = [_first(answer, "00080018") for answer in listed]
    if not uids:
        raise DicomOutputError(f"{where}: it has no images of series {series_uid} in study {study_uid}")
    if not all(_UID.fullmatch(uid) for uid in uids):  # they become file names
        raise DicomOutputError(f"{where}: it lists images of series {series_uid} without a valid SOP Instance UID")
    paths = {uid: Path(folder) / f"{uid}.dcm" for uid in uids}
    missing = {uid for uid, path in paths.items() if not path.is_file()}
    shown = None if progress else True
    bar = tqdm(total=len(uids), initial=len(uids) - len(missing), desc="Fetching", unit="file", disable=shown)
    with bar, _talking(url), quiet_libraries():
        for dataset in _received(client, study_uid, series_uid, missing, len(uids)):
            uid = str(dataset.get("SOPInstanceUID"))
            if uid in missing and dataset.get("SeriesInstanceUID") == series_uid:
                with atomic_open(paths[uid]) as stream:
                    dataset.save_as(stream, enforce_file_format=True)
                missing.discard(uid)
                bar.update()
    if missing:
        raise DicomOutputError(
            f"{where}: it lists {len(uids)} images of series {series_uid} and sent {len(uids) - len(missing)}; what "
            "came is kept, run again to fetch the rest"
        )
    return list(paths.values())


def store_instances(
    url: str,
    files: Sequence[str | os.PathLike[str]],
    *,
    progress: bool = True,
    headers: Mapping[str, str] | None = None,
) -> list[Stored]:
    """Send DICOM files to a server by STOW-RS, one by one, so that each has its own answer.

    Parameters
    ----------
    url, progress, headers
        As in `fetch_series`.
    files
        DICOM files.

    Returns
    -------
    list of Stored
        One per file. A file that is refused does not stop the others.

    Raises
    ------
    UsageError
        If the URL is not one of HTTP.
    UnreadableImageError
        If a file is not DICOM; nothing is sent then.
    DicomOutputError
        If the server cannot be reached for the first file.
    ConfigurationError
        If dicomweb-client is not installed.
    """
    from tqdm import tqdm

    paths = [os.fspath(file) for file in files]
    for path in paths:
        if "SOPClassUID" not in load_dataset(path, header_only=True, tags=["SOPClassUID"]):
            raise UnreadableImageError(path, "header", "it is not a DICOM object, which would name its SOP Class UID")
    with _talking(url):
        client = _client(url, headers)
    answers: list[Stored] = []
    for path in tqdm(paths, desc="Storing", unit="file", disable=None if progress else True):
        try:
            answers.append(_stored(client, url, path))
        except DicomOutputError as error:
            if not answers:
                raise
            answers.append(Stored(path, False, str(error)))  # what was stored before must not be forgotten
    return answers


def _stored(client: Any, url: str, path: str) -> Stored:
    import requests

    with _talking(url), quiet_libraries():
        try:
            answer = client.store_instances([load_dataset(path)])
        except requests.HTTPError as error:
            # 409: all instances failed; with or without a list of reasons.
            status, words = _status(error)
            if status in (401, 403, 404):
                raise
            return Stored(path, False, _reason(error.response) or f"the server answers {status} {words}")
    failed = answer.get("FailedSOPSequence") or []
    if not failed:
        return Stored(path, True)
    return Stored(path, False, _said(failed[0].get("FailureReason")))


def _status(error: Any) -> tuple[int, str]:
    """Status code and phrase of an HTTP error."""
    return (0, "nothing") if error.response is None else (error.response.status_code, error.response.reason)


def _reason(response: Any) -> str:
    try:
        value = response.json()["00081198"]["Value"][0]["00081197"]["Value"][0]
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return _said(value)


def _said(code: Any) -> str:
    try:
        return _REASONS.get(int(code), f"the server gives reason {int(code):04X}")
    except (TypeError, ValueError):
        return "the server gives no reason"


def _study_of(url: str, series_uid: str, headers: Mapping[str, str] | None) -> str:
    found = find_series(url, series_uid=series_uid, headers=headers)
    studies = {series.study_uid for series in found if series.series_uid in ("", series_uid)}
    if len(studies) != 1 or not _UID.fullmatch(next(iter(studies))):
        problem = "has no" if not studies else "names no single study of"
        raise DicomOutputError(
            f"{_shown(url)}: it {problem} series {series_uid}; check the UID, or give the study as well"
        )
    return studies.pop()


def _received(client: Any, study: str, series: str, missing: set[str], listed: int) -> Iterator[Any]:
    if len(missing) == listed:
        yield from client.iter_series(study, series, media_types=_AS_STORED)
    else:
        for uid in sorted(missing):
            yield client.retrieve_instance(study, series, uid, media_types=_AS_STORED)


def _all_pages(
    tag: str, search: Callable[..., list[dict[str, Any]]], *given: Any, **named: Any
) -> list[dict[str, Any]]:
    """What a server finds, page by page, until a page holds nothing new.

    dicomweb-client asks until a page is empty, which never ends with a server that ignores the offset.
    """
    found: dict[str, dict[str, Any]] = {}
    while True:
        page = {_first(answer, tag): answer for answer in search(*given, offset=len(found), **named)}
        if page.keys() <= found.keys():
            return list(found.values())
        found |= page


def _first(answer: Mapping[str, Any], tag: str) -> str:
    """The first value of an element in DICOM JSON, as text; empty if there is none."""
    values = answer.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _client(url: str, headers: Mapping[str, str] | None) -> Any:
    import requests
    from dicomweb_client.web import DICOMwebClient

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"'{_shown(url)}' is not the URL of a DICOMweb service, such as http://localhost:8042/dicom-web"
        )
    session = requests.Session()
    if parts.username:
        session.auth = (unquote(parts.username), unquote(parts.password or ""))
    client = DICOMwebClient(_shown(url).rstrip("/"), session=session, headers=dict(headers or {}), timeout=_PATIENCE)
    client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=_PAUSE)
    return client


def _shown(url: str) -> str:
    """The URL without user name, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextlib.contextmanager
def _talking(url: str) -> Iterator[None]:
    """Turn what goes wrong between client and server into one line."""
    where = _shown(url)
    try:
        import requests

        with quiet_libraries():
            yield
    except RadImageNetError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"DICOMweb needs dicomweb-client ({error}); install it with pip install 'radimagenet-monai[dicom]'"
        ) from error
    except requests.Timeout:
        raise DicomOutputError(f"{where}: it does not answer in time; try again, or look after the server") from None
    except requests.ConnectionError as error:
        refused = "refused" if "refused" in str(error).lower() else "not possible or broken off"
        raise DicomOutputError(
            f"{where}: the connection was {refused}; is the server running, and is this the root of its DICOMweb "
            "service?"
        ) from None
    except requests.HTTPError as error:
        status, words = _status(error)
        hint = {
            401: "it asks for a login, for example http://USER:PASSWORD@HOST/...",
            403: "it forbids this with this login",
            404: "is this the root of its DICOMweb service, and are the UIDs right?",
        }.get(status, "see the server's log")
        raise DicomOutputError(f"{where}: it answers {status} {words}; {hint}") from None
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise  # of the disk
        if type(error).__name__ == "RetryError":
            raise DicomOutputError(f"{where}: it is too busy to answer; try again later") from None
        raise DicomOutputError(
            f"{where}: it does not answer as a DICOMweb service does ({anonymous(error)}); is this the root of one?"
        ) from None
