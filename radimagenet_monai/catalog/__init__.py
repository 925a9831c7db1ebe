"""What the collection consists of, as data: tasks, labels. Imports no torch."""
