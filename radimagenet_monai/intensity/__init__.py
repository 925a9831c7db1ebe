"""Native CT, MR, ultrasound and radiograph intensities to the canonical image."""
