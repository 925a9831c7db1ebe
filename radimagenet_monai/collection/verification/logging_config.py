"""``logging.conf`` of a bundle, read but not run: Python evaluates parts of it before any other config."""

from __future__ import annotations

import configparser

_KEYS = {
    "loggers": {"keys"},
    "handlers": {"keys"},
    "formatters": {"keys"},
    "logger": {"level", "handlers", "qualname", "propagate"},
    "handler": {"class", "level", "formatter", "args"},
    "formatter": {"format", "datefmt", "style"},
}
_HANDLERS = {"StreamHandler", "NullHandler"}
_ARGUMENTS = {"()", "(sys.stdout,)", "(sys.stderr,)"}


def logging_problems(text: str) -> list[str]:
    """Parts of a logging configuration that do more than print messages to the terminal.

    `logging.config.fileConfig` imports what ``class`` names and evaluates ``args``, ``kwargs`` and, from Python 3.12
    on, ``defaults`` of a formatter. Only a few literal values are therefore allowed, and no other keys.
    """
    parser = configparser.RawConfigParser(strict=True)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        return [f"it is not a logging configuration ({type(error).__name__})"]
    problems = ["a DEFAULT section is not allowed"] if parser.defaults() else []
    for section in parser.sections():
        allowed = _KEYS.get(section.partition("_")[0], set())
        for key, value in parser[section].items():
            if key not in allowed:
                problems.append(f"[{section}] {key} is not on the allow-list")
            elif key == "class" and value not in _HANDLERS:
                problems.append(f"[{section}] class={value!r}, expected one of {', '.join(sorted(_HANDLERS))}")
            elif key == "args" and value not in _ARGUMENTS:
                problems.append(f"[{section}] args={value!r}, expected one of {' '.join(sorted(_ARGUMENTS))}")
    return problems
