"""How processes talk: the posttroll messages, and the buses that carry them."""
