"""From stored values to gray levels."""
