"""`tranship demo`: the main job, live, in a temporary place."""


def demo() -> None:
    """Show the main job."""
