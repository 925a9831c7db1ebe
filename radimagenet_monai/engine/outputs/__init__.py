"""What an evaluation or inference run writes."""
