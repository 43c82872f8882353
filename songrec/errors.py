"""The errors that this project raises on purpose.

Each one says what happened to which file, and carries what to run next as `Advice`; the
command-line frame prints both in one line. Two kinds matter to the stages: a `SongError` concerns
one song, which is skipped with that reason while the rest goes on; every other `SongRecError` ends
the run.
"""

from songrec.advice import Advice


class SongRecError(Exception):
    """A known failure, reported in one line without a traceback (exit status 1).

    Parameters
    ----------
    message
        What happened, to which file.
    *advice
        What to run next, in this order.
    """

    def __init__(self, message: str, *advice: Advice) -> None:
        super().__init__(message)
        self.advice = advice


class SongError(SongRecError):
    """One song cannot be done; the message is the reason kept in `skipped.csv`."""


class UndecodableError(SongError):
    """The file holds nothing any decoder here can read as audio."""


class UnusableAudioError(SongError):
    """The file decodes, but to nothing that can be compared: silence, too short, too long."""


class BadPictureError(SongError):
    """A spectrogram or slice on disk is damaged or is not one of ours."""


class LibraryError(SongRecError):
    """A folder or table of the database is missing, unreadable or empty."""


class RecipeMismatchError(SongRecError):
    """Something on disk was made with another recipe than this version's."""


class DiskFullError(SongRecError):
    """No space (or quota) left; going on would only lose more."""


class ModelError(SongRecError):
    """`model.pt` is missing, is not a model, or belongs to another recipe."""


class LabelError(SongRecError):
    """`tracks.csv` gives nothing that a network could learn to tell apart."""


class TrainingError(SongRecError):
    """The training cannot start, go on or resume."""


class InterruptedRunError(SongRecError):
    """The user pressed Ctrl-C; says what is kept and how to continue (exit status 130)."""


class UnknownSongError(SongRecError):
    """No song of the library goes by that name."""


class AmbiguousSongError(SongRecError):
    """More than one song of the library goes by that name."""


class DownloadError(SongRecError):
    """A file on the web could not be fetched."""


class ArchiveError(SongRecError):
    """A zip is damaged, is not what it should be, or would write outside its folder."""


class SpotdlError(SongRecError):
    """spotdl cannot work here and now: missing, blocked, or without a network."""


class RateLimitError(SpotdlError):
    """The service asks to come back later; the message says when."""


class UsageError(SongRecError):
    """Flags that do not fit together (exit status 2)."""
