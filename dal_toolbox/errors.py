"""The one exception that a user can cause and can fix."""


class UserError(Exception):
    """A mistake in what was asked for. The message is one line and says the way out.

    The mains of ``experiments/`` print it without a traceback and exit with status 2.
    """

    def __str__(self) -> str:  # KeyError would print its message in quotes
        return " ".join(str(part) for part in self.args)
