"""The errors that this project raises on purpose.

Each one says what happened to which file, and carries what to run next as `Advice`; the
command-line frame prints both in one line. A `SongError` concerns one song: it is skipped, with the
message as the reason, and the run continues. Any other `SongRecError` ends the run.
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
    """One song cannot be processed; the message is the reason kept in `skipped.csv`."""


class UndecodableError(SongError):
    """No decoder can read the file as audio."""


class UnusableAudioError(SongError):
    """The file decodes, but cannot be compared: it is silent, too short or too long."""


class BadPictureError(SongError):
    """A spectrogram or slice on disk is damaged or is not one of ours."""


class LibraryError(SongRecError):
    """A folder or table of the database is missing, unreadable or empty."""


class RecipeMismatchError(SongRecError):
    """Something on disk was made with another recipe than this version's."""


class DiskFullError(SongRecError):
    """The disk or the quota is full; the run stops."""


class ModelError(SongRecError):
    """`model.pt` is missing, is not a model, or belongs to another recipe."""


class LabelError(SongRecError):
    """`tracks.csv` has no labels that a network could be trained on."""


class TrainingError(SongRecError):
    """The training cannot start, continue or resume."""


class InterruptedRunError(SongRecError):
    """The user pressed Ctrl-C; the message says what is kept (exit status 130)."""


class UnknownSongError(SongRecError):
    """No song in the library has that name."""


class AmbiguousSongError(SongRecError):
    """Several songs in the library match that name."""


class DownloadError(SongRecError):
    """A file on the web could not be fetched."""


class ArchiveError(SongRecError):
    """A zip is damaged, is not what it should be, or would write outside its folder."""


class SpotdlError(SongRecError):
    """spotdl cannot work: it is missing, blocked or offline."""


class RateLimitError(SpotdlError):
    """The service asks for a pause; the message says how long."""


class UsageError(SongRecError):
    """Flags that do not fit together (exit status 2)."""
