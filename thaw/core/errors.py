"""The exceptions that mean "no bug of ours"."""


class UserError(Exception):
    """A mistake in parameters, data or environment.

    The message says what is wrong, where, and what to do. A stage prints it without a
    traceback and ends with exit code 1; any other exception is a bug of ours and keeps its
    traceback.
    """


class PassingError(UserError):
    """A trouble that may be over at the next try, such as a network that is down.

    A stage ends with exit code 75 (EX_TEMPFAIL of sysexits.h), at which a flow tries again.
    """
