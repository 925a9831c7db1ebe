"""``radimagenet label``: MONAI Label's server with bundles of this project."""

from __future__ import annotations

import os
import shlex

from radimagenet_monai.core.flags import Count


def install_app(folder: str, bundles: list[str]) -> None:
    """Write an app for MONAI Label 0.8.5 with copies of trained bundles.

    Args:
        folder: folder of the app; one that is there gets further bundles.
        bundles: folders of trained bundles.
    """
    from radimagenet_monai.integrations.monai_label import install_app as install

    app = install(str(folder), [str(bundle) for bundle in bundles])
    print(f"{app}: start it with 'radimagenet label serve {app} --studies FOLDER'")


def serve(
    app: str,
    studies: str,
    models: list[str] | None = None,
    host: str = "127.0.0.1",
    port: Count = 8000,
    modality: str = "",
) -> None:
    """Start MONAI Label's server, unmodified, for an app of `install-app` or the sample app monaibundle.

    Prints the command that it becomes. The server asks nobody who they are: --host 0.0.0.0 opens it to the network.

    Args:
        app: app folder.
        studies: folder of images, or address of a DICOMweb service.
        models: bundles in the app's folder model to serve; all by default.
        host: address to listen on.
        port: port to listen on.
        modality: DICOM modality of the series to list from a DICOMweb service, e.g. US.
    """
    from radimagenet_monai.integrations.monai_label import server_process

    arguments, environment = server_process(str(app), str(studies), models or (), str(host), int(port), str(modality))
    added = {name: value for name, value in environment.items() if os.environ.get(name) != value}
    print(
        " ".join([*(f"{name}={shlex.quote(value)}" for name, value in added.items()), shlex.join(arguments)]),
        flush=True,
    )
    os.execve(arguments[0], arguments, environment)


COMMANDS = {"label": {"install-app": install_app, "serve": serve}}
