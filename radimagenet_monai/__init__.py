"""RadImageNet encoders and downstream tasks as MONAI bundles.

Importing this package imports neither torch nor MONAI, so that ``radimagenet info`` answers at once.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
