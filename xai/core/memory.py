"""Tell a lack of memory from other errors; every device says it in its own way."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator or the machine ran out of memory: on the CPU torch says so in words only."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)  # torch's
        or "can't allocate memory" in text
        or "not enough memory" in text
        or "out of memory" in text
    )
