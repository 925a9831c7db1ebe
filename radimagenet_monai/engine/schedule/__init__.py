"""What changes in the course of a training."""
