"""Images below a folder, and what is left out."""
