"""One file per step of the way (core/journey.py). A step takes batches, starts nothing, and knows no other step."""
