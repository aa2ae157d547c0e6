"""Archives as `scripts/pacs.py` sees them: by DICOMweb (dicomweb-client) or DIMSE (pynetdicom), used alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, build_context, build_role, evt
from pynetdicom.status import code_to_category

from frerec.errors import InputError
from frerec.io.dicom.files import read_dataset

# PS3.4, C.6.2: Study Root Query/Retrieve
_FIND, _GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
# of integers, floats and doubles
_PIXELS, _UNDEFINED = {0x7FE00010, 0x7FE00008, 0x7FE00009}, 0xFFFFFFFF
_TIMEOUT_S = 60
_NO_ANSWER, _IS_IT_THERE = "there is no answer", "Check the address, and that the archive runs"


class Lost(InputError):
    """The archive does not answer, or no longer."""


@dataclass(frozen=True, order=True)
class Instance:
    """An object of an archive; `sop_class` is empty where the archive does not tell it."""

    sop_class: str
    uid: str


# What became of an instance or file: the bytes of a DICOM file (empty for a stored one), or why there are none.
Result = bytes | InputError


class DicomWeb:
    """An archive by its DICOMweb services."""

    def __init__(self, url: str) -> None:
        self.url = url
        session = requests.Session()
        session.request = partial(session.request, timeout=_TIMEOUT_S)  # type: ignore[method-assign]
        try:
            self.client = DICOMwebClient(url, session, permissive_uid=True)
        except ValueError as error:
            raise InputError(url, "not an address", "Write https://host:port/dicom-web") from error
        # a large object is sent in pieces that exist only once
        self.client.set_http_retry_params(retry=False)

    def series(self, study: str) -> dict[str, str]:
        """Description of each series of a study, by UID."""
        with self._answers():
            found = self.client.search_for_series(study, fields=["SeriesDescription"], get_remaining=True)
            rows = [Dataset.from_json(row) for row in found]
            return {row.SeriesInstanceUID: str(row.get("SeriesDescription", "")) for row in rows}

    def instances(self, study: str, series: str) -> list[Instance]:
        """The instances of a series."""
        with self._answers():
            found = self.client.search_for_instances(study, series, get_remaining=True)
            rows = [Dataset.from_json(row) for row in found]
            return [Instance(str(row.get("SOPClassUID", "")), row.SOPInstanceUID) for row in rows]

    def fetch(self, study: str, series: str, wanted: Iterable[Instance]) -> Iterator[tuple[Instance, Result]]:
        """The files of instances, as they are stored."""
        for instance in wanted:
            yield instance, self._tried(instance.uid, partial(self._retrieve, study, series, instance.uid))

    def store(self, files: Iterable[Path]) -> Iterator[tuple[Path, Result]]:
        """Store files one by one."""
        for path in files:
            yield path, self._tried(str(path), partial(self._store, path))

    def _retrieve(self, study: str, series: str, uid: str) -> bytes:
        with self._answers():
            dataset = self.client.retrieve_instance(study, series, uid, media_types=(("application/dicom", "*"),))
            buffer = BytesIO()
            pydicom.dcmwrite(buffer, dataset)
        if dataset.get("SOPInstanceUID") != uid:
            raise InputError(uid, "the archive sent another object", "Report it to whoever runs the archive")
        return buffer.getvalue()

    def _store(self, path: Path) -> bytes:
        dataset = _read(path)
        with self._answers():
            answer = self.client.store_instances([dataset])
        for item in answer.get("FailedSOPSequence", []):
            raise _refused(path, item.get("FailureReason", 0))
        return b""

    def _tried(self, name: str, work: Callable[[], bytes]) -> Result:
        try:
            return work()
        except Lost:
            raise
        except InputError as error:
            return error if error.path == name else InputError(name, error.reason, error.remedy)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Put what can go wrong with a request into words."""
        try:
            yield
        except requests.HTTPError as error:
            code = error.response.status_code
            if code in (401, 403):
                remedy = "Write user and password for its host into ~/.netrc, or the file that NETRC names"
                raise Lost(self.url, f"the archive refuses access (HTTP {code})", remedy) from error
            remedy = "Check address and study; the archive's log tells the reason"
            raise InputError(self.url, f"the archive answers with HTTP {code}", remedy) from error
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            raise Lost(self.url, _NO_ANSWER, _IS_IT_THERE) from error
        except Exception as error:  # what is no DICOM or JSON may raise anything
            reason = f"the answer is not understood ({type(error).__name__})"
            raise InputError(self.url, reason, "Give the root of DICOMweb services, such as .../dicom-web") from error


class Dimse:
    """An archive by the network services of DICOM PS3.4: C-FIND, C-GET and C-STORE."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            parts = urlsplit(url)
            self.address = (parts.hostname, parts.port)
        except ValueError:  # a port that is no number or too large
            self.address = (None, None)
        titles = self.calling, self.called = parts.username or "FREREC", parts.path.strip("/")
        if not (all(self.address) and all(0 < len(title) <= 16 for title in titles)):
            raise InputError(url, "not an address", "Write dicom://OUR_AE_TITLE@host:port/ITS_AE_TITLE")

    def series(self, study: str) -> dict[str, str]:
        """Description of each series of a study, by UID."""
        rows = self._find("SERIES", StudyInstanceUID=study, SeriesInstanceUID="", SeriesDescription="")
        return {row.SeriesInstanceUID: str(row.get("SeriesDescription", "")) for row in rows}

    def instances(self, study: str, series: str) -> list[Instance]:
        """The instances of a series."""
        ids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": "", "SOPClassUID": ""}
        return [Instance(row.get("SOPClassUID", ""), row.SOPInstanceUID) for row in self._find("IMAGE", **ids)]

    def fetch(self, study: str, series: str, wanted: Iterable[Instance]) -> Iterator[tuple[Instance, Result]]:
        """The files of instances, as they are stored."""
        for sop_class, group in groupby(sorted(wanted), lambda instance: instance.sop_class):
            if not sop_class:
                reason, remedy = "the archive does not tell what kind of object it is", "Fetch it over DICOMweb"
                yield from ((instance, InputError(instance.uid, reason, remedy)) for instance in group)
                continue
            # one context for each transfer syntax, so that none is converted on the way
            contexts = [build_context(_GET), *(build_context(sop_class, syntax) for syntax in ALL_TRANSFER_SYNTAXES)]
            came: dict[str, bytes] = {}
            hooks = [(evt.EVT_C_STORE, _keep, [came])]
            missing = {instance.uid: instance for instance in group}
            with self._associated(contexts, [build_role(sop_class, scp_role=True)], hooks) as association:
                uids = list(missing)
                # a list of UIDs has to stay below 64 KiB
                for some in (uids[start : start + 500] for start in range(0, len(uids), 500)):
                    ids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": some}
                    for status, _ in self._asked(association.send_c_get, _GET, "IMAGE", ids):
                        code = self._code(status)
                        for uid in came.keys() & missing.keys():
                            yield missing.pop(uid), came.pop(uid)
                    for uid in missing.keys() & set(some):
                        yield missing.pop(uid), _refused(uid, code)

    def store(self, files: Iterable[Path]) -> Iterator[tuple[Path, Result]]:
        """Store files over one association."""
        kinds: dict[tuple[str, str], None] = {}
        read: dict[Path, InputError | None] = {}
        for path in files:
            try:
                dataset = _read(path, with_pixels=False)
                kinds[dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID] = None
                read[path] = None
            except InputError as error:
                read[path] = error
        if not kinds:
            yield from ((path, error) for path, error in read.items() if error)
            return
        with self._associated([build_context(*kind) for kind in list(kinds)[:128]]) as association:
            for path, error in read.items():
                yield path, error or self._store(association, path)

    def _store(self, association: Any, path: Path) -> Result:
        try:
            status = association.send_c_store(_read(path))
        except ValueError:  # none of the accepted contexts fits
            return InputError(path, "the archive takes no objects of this kind", "Ask whoever runs the archive")
        except RuntimeError as error:  # the association has ended
            raise self._ended() from error
        except InputError as error:
            return error
        code = self._code(status)
        return b"" if code_to_category(code) in ("Success", "Warning") else _refused(path, code)

    def _find(self, level: str, **ids: str) -> list[Dataset]:
        with self._associated([build_context(_FIND)]) as association:
            answers = list(self._asked(association.send_c_find, _FIND, level, ids))
        code = self._code(answers[-1][0])
        if code_to_category(code) != "Success":
            raise _refused(self.url, code)
        return [row for _status, row in answers if row is not None]

    def _asked(self, send: Callable[..., Any], model: str, level: str, ids: Mapping[str, Any]) -> Iterator[Any]:
        """The answers to a query, of which the last one tells how it ended."""
        query = Dataset()
        query.QueryRetrieveLevel = level
        for keyword, value in ids.items():
            setattr(query, keyword, value)
        try:
            yield from send(query, model)
        except RuntimeError as error:  # the association has ended
            raise self._ended() from error
        except ValueError as error:  # it has no context for this
            reason = f"the archive offers no query and retrieve to {self.calling}"
            raise Lost(self.url, reason, "Allow it there, in Orthanc by AllowFind and AllowGet") from error

    @contextmanager
    def _associated(self, contexts: list[Any], roles: Sequence[Any] = (), hooks: Sequence[Any] = ()) -> Iterator[Any]:
        reached: list[evt.Event] = []
        entity = AE(ae_title=self.calling)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        try:
            association = entity.associate(
                *self.address, contexts=contexts, ae_title=self.called, ext_neg=list(roles),
                evt_handlers=[(evt.EVT_CONN_OPEN, reached.append), *hooks],
            )  # fmt: skip
        except OSError as error:  # a name that nobody knows
            raise Lost(self.url, _NO_ANSWER, _IS_IT_THERE) from error
        if association.is_rejected:
            why = association.acceptor.primitive.reason_str
            reason = f"the archive refuses a call by {self.calling} for {self.called} ({why[0].lower()}{why[1:]})"
            raise Lost(self.url, reason, "Check both AE titles, and that the archive knows ours")
        if not association.is_established:
            raise self._ended() if reached else Lost(self.url, _NO_ANSWER, _IS_IT_THERE)
        try:
            yield association
        except BaseException:
            association.abort()  # a release would wait for what is under way
            raise
        if association.is_established:
            association.release()

    def _code(self, status: Dataset) -> int:
        if "Status" not in status:
            raise self._ended()
        return int(status.Status)

    def _ended(self) -> Lost:
        remedy = f"Check that it still runs, and that it allows {self.calling} to query, retrieve and store"
        return Lost(self.url, "the archive ends the association without an answer", remedy)


def _keep(event: evt.Event, came: dict[str, bytes]) -> int:
    came[event.request.AffectedSOPInstanceUID] = event.encoded_dataset()
    return 0x0000


def _refused(name: str | Path, code: int) -> InputError:
    return InputError(name, f"the archive refuses it (status {code:04X}H)", "Its log tells the reason")


def _read(path: Path, with_pixels: bool = True) -> Dataset:
    try:
        with path.open("rb") as stream:
            dataset = read_dataset(path, stream, with_pixels)
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", "Check its permissions") from error
    if with_pixels:
        last = dataset.get_item(max(dataset.keys()))
        told, found = getattr(last, "length", None), len(last.value or b"")
        # pydicom takes what there is; an archive that is sent half an object breaks off, or keeps it
        if not _PIXELS & dataset.keys() or (told is not None and found < told != _UNDEFINED):
            raise InputError(path, "its pixel data is truncated", "Make it anew")
    return dataset


def archive_at(url: str) -> DicomWeb | Dimse:
    """The archive at an address."""
    scheme, _, rest = url.partition("://")
    if scheme in ("http", "https"):
        if "@" in rest:
            raise InputError("the address", "user and password do not belong in it", "Write them into ~/.netrc")
        return DicomWeb(url)
    if scheme == "dicom":
        return Dimse(url)
    raise InputError(url, "not the address of an archive", "Begin it with http://, https:// or dicom://")
