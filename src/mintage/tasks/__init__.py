"""A task is a corruption, and training is undoing it: one task a file, each with a class ``Task``."""
