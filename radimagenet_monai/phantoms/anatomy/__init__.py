"""What phantoms show: drawings of organs, and noise."""
