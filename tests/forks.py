"""Command lines run in a fork of a process that has imported everything, so that a start takes no ten seconds.

The commands are those of a user, word for word, and so are output, exit status and signals. What a process of its own
does before the first line of a command is not seen here: of each kind of command, one test starts such a process.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "monai.bundle",
        "monai.engines",
        "monai.handlers",
        "pandas",
        "sklearn.metrics",
        "torch._dynamo",
        "torch.utils.tensorboard",
        "radimagenet_monai.loading.bundle_dataset",
        "radimagenet_monai.engine.handlers.checkpoint",
    ]
)


class Popen:
    """What the tests and the package use of `subprocess.Popen`, for ``python -m MODULE`` and ``python -c CODE``.

    Output is read once the process has ended. ``first`` is called in the fork before anything else.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdout: Any = None,
        stderr: Any = None,
        start_new_session: bool = False,
        first: Callable[[], None] | None = None,
        **_: Any,
    ) -> None:
        assert args[0] == sys.executable, args
        assert args[1] in ("-m", "-c"), args
        self.args = list(map(str, args))
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self._into = (stdout, stderr)
        together = stderr == subprocess.STDOUT
        self._process = FORKS.Process(
            target=_become,
            args=(
                self.args[1:],
                os.fspath(cwd or Path.cwd()),
                dict(os.environ if env is None else env),
                [str(self._files[0]), None if together else str(self._files[1])],
                start_new_session,
                first,
            ),
        )
        self._process.start()
        self.pid = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, or ``None`` while it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; minus the signal's number if one ended it.

        Raises
        ------
        subprocess.TimeoutExpired
            If it still runs after ``timeout`` seconds; it is killed then.
        """
        self._process.join(timeout)
        if self.poll() is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()

    @property
    def stdout(self) -> Any:
        """The lines of standard output."""
        self.wait()
        return iter(self._text(0).splitlines(keepends=True))

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Standard output and standard error, after the end."""
        self.wait(timeout)
        texts = [self._text(number) for number in (0, 1)]
        for text, into in zip(texts, self._into, strict=True):
            if hasattr(into, "write"):
                into.write(text.encode() if "b" in getattr(into, "mode", "w") else text)
        self._folder.cleanup()
        return texts[0], texts[1]

    def __enter__(self) -> Popen:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def _text(self, number: int) -> str:
        path = self._files[number]
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def run(
    args: Sequence[str], *, check: bool = False, timeout: float | None = 900, **options: Any
) -> subprocess.CompletedProcess:
    """`subprocess.run` with ``capture_output`` and ``text``."""
    process = Popen(args, **options)
    stdout, stderr = process.communicate(timeout)
    done = subprocess.CompletedProcess(process.args, process.wait(), stdout, stderr)
    if check:
        assert done.returncode == 0, stderr[-3000:]
    return done


@contextmanager
def forked_commands(first: Callable[[], None] | None = None) -> Iterator[None]:
    """While in the context, the bundle runs that the package starts are forks; ``first`` as for `Popen`."""
    from radimagenet_monai.comparison import bundle_run, jobs

    ours = SimpleNamespace(
        Popen=partial(Popen, first=first),
        run=partial(run, first=first),
        PIPE=subprocess.PIPE,
        STDOUT=subprocess.STDOUT,
        DEVNULL=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_run, "subprocess", ours)
        patch.setattr(jobs, "subprocess", ours)
        yield


@contextmanager
def forked_pools() -> Iterator[None]:
    """While in the context, processes that would be spawned are forks of the one that has imported everything."""
    get_context = multiprocessing.get_context
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda how=None: FORKS if how == "spawn" else get_context(how))
        yield


def _become(
    args: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
    files: Sequence[str | None],
    session: bool,
    first: Callable[[], None] | None,
) -> None:
    """In the fork: turn into the process of a command line, and end as it does."""
    if session:
        os.setsid()
    # A child of a fork server starts processes of its own that way, a command line in the way of the platform.
    multiprocessing.set_start_method(None, force=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(files, start=1):
        if path is None:
            os.dup2(1, descriptor)
        else:
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    if first is not None:
        first()
    status = _status_of(*args)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status_of(option: str, what: str, *arguments: str) -> int:
    sys.path.insert(0, str(Path.cwd()))
    try:
        try:
            if option == "-m":
                sys.argv = [what, *arguments]
                runpy.run_module(what, run_name="__main__", alter_sys=True)
            else:
                sys.argv = ["-c", *arguments]
                exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
        except SystemExit:
            raise
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
            return 1
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
