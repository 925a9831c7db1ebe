"""What is kept with a trained network, and compared before it is used."""
