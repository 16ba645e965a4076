"""How a generator is judged: one metric a file, each with a class ``Metric``."""
