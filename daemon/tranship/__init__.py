"""Tranship moves files between machines the moment they appear, and tells everyone who should know."""

__version__ = "0.1.0"
