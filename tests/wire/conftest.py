"""What the tests of the wire share."""

from hypothesis import settings

settings.register_profile("wire", deadline=None, max_examples=100)
settings.load_profile("wire")
