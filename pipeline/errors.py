"""The one exception that means: the user can fix this."""


class ConfigError(ValueError):
    """A bad file, a bad argument or absent data; commands print it alone and exit with 2.

    The message says what was expected, what was got and what to write instead. Several
    messages, one a line, may be joined: everything found is reported at once.
    """


class DamagedError(ConfigError):
    """A file of the store is not what was written: cut short, or altered. It can be made again."""
