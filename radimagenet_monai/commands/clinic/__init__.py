"""Commands for a clinic's own tools."""

from radimagenet_monai.commands.clinic.label import COMMANDS

__all__ = ["COMMANDS"]
