"""Which songs train and which test: by song, an artist on one side, genres in proportion."""

from collections.abc import Sequence

import numpy as np


def draw_test_songs(
    labels: Sequence[str], groups: Sequence[str], test_share: float, seed: int
) -> np.ndarray:
    """Choose the test songs so that no group stands on both sides.

    Groups are taken in random order; one goes to the test side if that brings the number of
    test songs of its labels nearer to `test_share` of each label's songs. No label loses its
    last training song; a label that missed out gets its smallest group, where it has two.

    Parameters
    ----------
    labels : sequence of str [len=n]
        Label of each song.
    groups : sequence of str [len=n]
        What must stay together, such as the artist. "" stands for a group of its own.
    test_share
        Share of songs wanted on the test side, 0 to 1.
    seed
        Decides the random order.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=bool]
        True for a test song.
    """
    classes, label_numbers = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    own = [group or f"\0{number}" for number, group in enumerate(groups)]
    group_names, group_numbers = np.unique(np.asarray(own, dtype=object), return_inverse=True)
    counts = np.zeros((len(group_names), len(classes)), dtype=np.int64)
    np.add.at(counts, (group_numbers, label_numbers), 1)

    total = counts.sum(axis=0)
    target = total * test_share
    taken = np.zeros(len(classes), dtype=np.int64)
    in_test = np.zeros(len(group_names), dtype=bool)

    def take(group: int) -> None:
        nonlocal taken
        taken = taken + counts[group]
        in_test[group] = True

    def leaves_all_in_training(group: int) -> bool:
        present = counts[group] > 0
        return bool(np.all((total - taken - counts[group])[present] > 0))

    for group in np.random.default_rng(seed).permutation(len(group_names)).tolist():
        before = np.square(taken - target).sum()
        after = np.square(taken + counts[group] - target).sum()
        if after < before and leaves_all_in_training(group):
            take(group)
    if test_share > 0:
        for label in np.flatnonzero(taken == 0):
            candidates = [
                group
                for group in np.flatnonzero(counts[:, label]).tolist()
                if leaves_all_in_training(group) and not in_test[group]
            ]
            if candidates:
                take(min(candidates, key=lambda group: counts[group].sum()))
    return in_test[group_numbers]
