"""What can go wrong, as exceptions."""


class Error(Exception):
    """A comparison that could not be made. Its text says what failed, where, and what to do."""


class InputError(Error):
    """Inputs, or an argument, that cannot be used."""


class ReferenceError(Error):
    """A reference that cannot be captured: a module that fails, or a file that is no trace."""


class CandidateError(Error):
    """A candidate that cannot be run."""


class ModuleError(Error):
    """A module of PyTorch that fails as it runs."""
