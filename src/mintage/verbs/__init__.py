"""The loop, one verb a file; each reads top to bottom, returns a result and takes ``on=callback``."""
