"""``python -m radimagenet_monai`` runs the command ``radimagenet``."""

from radimagenet_monai.cli import main

if __name__ == "__main__":
    main()
