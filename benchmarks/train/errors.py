"""The one exception that becomes one line on stderr."""


class UsageError(Exception):
    """Something that the user asked for cannot be done; the message is one line and says what to change."""


def one_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
