"""How bytes get there: one mover per protocol, and one safe way to use them all."""
