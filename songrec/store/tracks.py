"""The labels of the songs of a database: the table `tracks.csv`."""

from pathlib import Path
from typing import Literal

import pandas as pd

from songrec.errors import LabelError
from songrec.names import composed

Label = Literal["genre", "artist", "album"]
COLUMNS = ("song", "artist", "title", "album", "genre", "split")
_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "test": "test",
    "": "",
}


def read_tracks(path: Path) -> pd.DataFrame:
    """Read `tracks.csv`.

    Returns
    -------
    pandas.DataFrame
        Indexed by song (path below `songs/` without ending, `composed`); the other `COLUMNS` as
        text, "" where empty or absent. `split` is "train", "valid", "test" or "".

    Raises
    ------
    LabelError
        If the table is missing, is not CSV, has no column `song`, or names an unknown split.
    """
    columns = ",".join(COLUMNS)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LabelError(
            f"there are no labels: {path} is missing; make it with the columns {columns} "
            "(for train_db, fma_dl.py writes one)"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as CSV: {str(error).strip()}") from error
    if "song" not in table.columns:
        found = ",".join(map(str, table.columns))[:80]
        raise LabelError(f"{path} has no column 'song' ({found}); it needs {columns}")
    table = table.reindex(columns=list(COLUMNS), fill_value="").apply(lambda c: c.str.strip())
    unknown = sorted(set(table["split"].str.lower()) - _SPLITS.keys())
    if unknown:
        raise LabelError(f"{path}: unknown split {unknown[0]!r}; use train, valid or test")
    table["song"] = table["song"].map(composed)
    table["split"] = table["split"].str.lower().map(_SPLITS)
    return table.drop_duplicates("song", keep="last").set_index("song")
