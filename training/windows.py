"""Lists of windows of music: CSVs that the scripts of this folder read."""

import csv
from dataclasses import dataclass
from pathlib import Path

from songrec.errors import LabelError

WINDOW_S = 30.0


@dataclass(frozen=True)
class Window:
    """One line of a list.

    Attributes
    ----------
    path
        The file; with a package, the end of its path inside it.
    start_s
        Where the window begins in the file.
    label
        Artist and album; where they are not known, the package.
    genre
        "" where it is not known.
    package
        The Debian package that holds the file; "" where `path` is a whole path.
    """

    path: Path
    start_s: float
    label: str
    genre: str = ""
    package: str = ""


def read_windows(path: Path) -> list[Window]:
    """Read a list with the columns path,start_s,label,genre or package,file,start_s,label.

    Raises
    ------
    LabelError
        If a column is missing or a start is not a number.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            return [
                Window(
                    Path(row["file"] if "package" in row else row["path"]),
                    float(row["start_s"]),
                    row["label"],
                    row.get("genre", ""),
                    row.get("package", ""),
                )
                for row in csv.DictReader(file)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(f"{path} is not a list of windows ({error!r})") from error
