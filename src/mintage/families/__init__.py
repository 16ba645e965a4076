"""Generative models p(x | cond): one family a file, each with ``Config`` and ``Model``."""
