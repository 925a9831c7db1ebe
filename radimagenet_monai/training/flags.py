"""Yes-or-no keys of a config, as people type them."""

from __future__ import annotations

from radimagenet_monai.errors import ConfigurationError

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_flag(value: object) -> bool:
    """``True`` or ``False`` from a JSON value or a word of the command line.

    ``--amp false`` reaches a config as the text ``"false"``, which Python takes for true.

    Raises
    ------
    ConfigurationError
        For anything but true, false, yes, no, 1 and 0.
    """
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ConfigurationError(f"{value!r} is neither true nor false; give true or false")
    return _WORDS[word]
