"""The one exception that means: the user can fix this."""


class ConfigError(ValueError):
    """A bad file, a bad argument or absent data; commands print it alone and exit with 2.

    The message says what was expected, what was got and what to write instead. Several
    messages, one a line, may be joined: everything found is reported at once.
    """


class DamagedError(ConfigError):
    """A file of the store is not what was written: cut short, or altered. It can be made again."""


class SettingError(ConfigError):
    """Settings that are well written and do not fit the data or the machine.

    Args:
        path: Of the setting, dotted, as in a search space. A command that knows the file says
            where it stands there.
        message: What is wrong with it.
        more: Path and message of further ones.
    """

    def __init__(self, path: str, message: str, *more: tuple[str, str]) -> None:
        super().__init__(path, message, *more)
        self.problems = ((path, message), *more)

    def __str__(self) -> str:
        return "\n".join(f"{path}: {message}" for path, message in self.problems)
