"""Networks, by name in `zoo`, and their weights."""
