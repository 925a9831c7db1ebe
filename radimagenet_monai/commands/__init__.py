"""The commands of ``radimagenet``, one module each."""
