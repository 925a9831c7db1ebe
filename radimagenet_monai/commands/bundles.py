"""``radimagenet bundles release``, ``verify`` and ``fetch``: what they do and print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from radimagenet_monai.core.flags import Whole

if TYPE_CHECKING:
    from radimagenet_monai.collection.verification.verify import Verification

EXIT_DANGEROUS = 1
EXIT_UNKNOWN = 3  # 2 is a wrong command line


DEFAULT_BUNDLES = "bundles"


def render(*names: str, out: str = DEFAULT_BUNDLES) -> None:
    """Write bundles from the task catalogue.

    Args:
        names: bundles to write; by default all released ones.
        out: output folder; each bundle gets a folder in it.
    """
    from radimagenet_monai.collection.render import write_bundles

    for folder in write_bundles(str(out), [str(name) for name in names]):
        print(folder)


def check(path: str = DEFAULT_BUNDLES) -> None:
    """Check that bundles are up to date, follow MONAI's metadata schema and have all properties. Exit status 1 if not.

    Args:
        path: folder of one bundle, or folder that contains several.
    """
    from radimagenet_monai.collection.check import check_bundles

    failed = False
    for name, problems in check_bundles(str(path)).items():
        print(f"{name}: {'ok' if not problems else f'{len(problems)} problems'}")
        for problem in problems:
            failed = True
            print(f"  {problem}")
    if failed:
        raise SystemExit(1)


def release(
    *names: str,
    out: str,
    bundles: str = "bundles",
    url: str | None = None,
    weights: Literal["auto", "include", "leave"] = "auto",
    portable: bool = False,
) -> None:
    """Write archives, hashes, MONAI's list and repositories for the Hugging Face hub; the same bytes every time.

    Args:
        names: bundles to release; by default all in the folder.
        out: folder that receives the release; an earlier release in it is replaced.
        bundles: folder that contains the bundles.
        url: address of the folder that archives and weights will be downloaded from, for model_info.json; also writes
            what a pull request to MONAI's model zoo adds.
        weights: auto includes trained weights but refuses those derived from RadImageNet; include also includes these,
            for those who hold the right to redistribute them; leave leaves all weights out.
        portable: release inference with parts of MONAI, torch and ignite alone, for platforms without this package.
    """
    from radimagenet_monai.collection.release import release_bundles
    from radimagenet_monai.core.flags import parse_flag

    chosen = [str(name) for name in names]
    address = None if url is None else str(url)
    for archive in release_bundles(str(bundles), str(out), chosen, address, weights, parse_flag(portable)):
        print(archive)


def verify(path: str, run_checks: bool = False, profile: Literal["any", "portable"] = "any") -> None:
    """Check a bundle without running any of it. Exit status 1 if it is dangerous, 3 if it names unknown components.

    Dangerous: would run, write or read whatever the bundle chooses, or does not match its hash. Unknown: not on the
    allow-list; read it and decide. Style: harmless, without effect on the exit status.

    Args:
        path: folder or zip archive of a bundle, or folder of a release.
        run_checks: also run MONAI's own checks afterwards, which builds the network that the bundle names.
        profile: portable also requires that configs name only MONAI, torch and ignite, and that the network, which is
            built, gives the outputs that were recorded when the bundle was made.
    """
    from pathlib import Path

    from radimagenet_monai.collection.bundle_files import MODEL_INFO
    from radimagenet_monai.collection.verification.findings import Grade
    from radimagenet_monai.collection.verification.verify import inspect_bundle, inspect_release
    from radimagenet_monai.core.flags import parse_flag

    run = parse_flag(run_checks)
    folder = Path(str(path))
    is_release = (folder / MODEL_INFO).is_file()
    if is_release:
        results = inspect_release(folder, run, profile)
    else:
        results = {str(folder): inspect_bundle(folder, run, profile)}
    for item, found in results.items():
        print(f"{item}: {found.summary()}")
        for line in [*_lines(found), *(f"({fact})" for fact in found.facts)]:
            print(f"  {line}")
    grades = {found.grade for found in results.values()}
    if Grade.DANGEROUS in grades:
        raise SystemExit(EXIT_DANGEROUS)
    if Grade.UNKNOWN in grades:
        raise SystemExit(EXIT_UNKNOWN)


def _lines(found: Verification) -> Iterator[str]:
    """The findings, worst first, with all findings of one unknown name on one line."""
    from radimagenet_monai.collection.verification.findings import Grade

    for grade in Grade:
        sentences: dict[str, list[str]] = {}
        for finding in found.findings:
            if finding.grade is grade:
                key = finding.subject if grade is Grade.UNKNOWN and finding.subject else finding.sentence
                sentences.setdefault(key, []).append(finding.sentence)
        for places in sentences.values():
            more = f" (and in {len(places) - 1} more places)" if len(places) > 1 else ""
            yield f"{grade}: {places[0]}{more}"


def fetch(
    url: str,
    out: str = ".",
    sha256: str | None = None,
    name: str | None = None,
    unverified: bool = False,
    allow_unknown: bool = False,
) -> None:
    """Download a bundle, compare its SHA-256, verify it, and extract it. A dangerous bundle is never extracted.

    Args:
        url: https, http or file address of an archive, or of the folder of a release.
        out: folder that receives the bundle's folder.
        sha256: expected hash of the archive; by default the one in the SHA256SUMS beside it.
        name: name of the bundle, if the address is the folder of a release.
        unverified: continue if there is no hash to compare with.
        allow_unknown: extract a bundle that names components not on the allow-list; read it before you run it.
    """
    from radimagenet_monai.collection.fetch import fetch_bundle
    from radimagenet_monai.core.flags import parse_flag

    fetched = fetch_bundle(
        str(url),
        str(out),
        None if sha256 is None else str(sha256),
        None if name is None else str(name),
        parse_flag(unverified),
        allow_unknown=parse_flag(allow_unknown),
    )
    compared = f"as in {fetched.compared_with}" if fetched.compared_with else "compared with nothing"
    print(f"SHA-256 {fetched.sha256}, {compared}")
    print(f"{fetched.folder}{' (was there already)' if fetched.was_there else ''}")


def export(path: str, out: str) -> None:
    """Write the trained network of a bundle as ONNX or TorchScript, with the bundle's metadata in it.

    By MONAI's own export, which runs what the bundle's config names: verify a bundle from elsewhere first.

    Args:
        path: folder of a bundle with a trained model.
        out: file to write, ending in .onnx or .ts.
    """
    from radimagenet_monai.collection.export import export_model

    print(export_model(str(path), str(out)))


def rehearse(*names: str, out: str = "rehearsal_output", seed: Whole = 0) -> None:
    """Train and test every bundle on its phantom and print one table. Exit status 1 if one has not learned enough.

    Takes about an hour on two cores. The same command resumes a stopped rehearsal.

    Args:
        names: bundles to rehearse; by default all.
        out: output folder for phantoms, trained bundles and rehearsal.md.
        seed: random seed of phantoms, splits and training.
    """
    from radimagenet_monai.commands.on_phantoms.rehearsal import rehearse as run_rehearsal

    path, learnt = run_rehearsal(str(out), [str(name) for name in names], seed)
    print(path)
    if not learnt:
        raise SystemExit(1)


COMMANDS = {
    "bundles": {
        "render": render,
        "check": check,
        "release": release,
        "verify": verify,
        "fetch": fetch,
        "export": export,
        "rehearse": rehearse,
    }
}
