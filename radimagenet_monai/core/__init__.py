"""What every room may use: errors, flags, atomic files, the command line's checks. Imports no other room."""
