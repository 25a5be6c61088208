"""Text that can be written anywhere."""


def valid_text(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 as escapes; as bytes it is valid UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 500 characters; its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__


def printable(text: object) -> str:
    """The text on one line, for messages: control and other invisible characters as escapes."""
    shown = valid_text(str(text))
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in shown)
