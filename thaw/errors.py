"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """A mistake in parameters, data or environment.

    The message says what is wrong, where, and what to do. A stage prints it without a
    traceback and ends with exit code 1; any other exception is a bug of ours and keeps its
    traceback.
    """
