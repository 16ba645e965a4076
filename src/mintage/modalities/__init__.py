"""How a person's files become tensors and come back: one medium a file, each with a class ``Codec``."""
