"""Handlers of a training: checkpoints, progress, records."""
