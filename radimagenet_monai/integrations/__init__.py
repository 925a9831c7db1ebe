"""What other programs of a clinic are served by. Only commands import this room."""
