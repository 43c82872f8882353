"""What is known about the songs of `train_db`: the table `tracks.csv`."""

import unicodedata
from pathlib import Path
from typing import Literal

import pandas as pd

from songrec.errors import LabelError

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
        Indexed by song (path below `songs/` without ending); the other `COLUMNS` as text, ""
        where empty or absent. `split` is "train", "valid", "test" or "".

    Raises
    ------
    LabelError
        If the table is missing, is no CSV, has no column `song`, or names a split unknown here.
    """
    columns = ",".join(COLUMNS)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise LabelError(
            f"there are no labels: {path} is missing; fma_dl.py writes one, "
            f"or make one with the columns {columns}"
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
    # The file system may write an accent as a character of its own; names must meet all the same.
    table["song"] = table["song"].map(lambda name: unicodedata.normalize("NFC", name))
    table["split"] = table["split"].str.lower().map(_SPLITS)
    return table.drop_duplicates("song", keep="last").set_index("song")
