"""Engine pieces: inference precision, checkpoints, resume, determinism, run record."""
