"""Networks and numerics, one architecture or one idea a file. Knows no modality, no file format, no verb."""
