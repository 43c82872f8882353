"""Slices -> what a song is compared by, with the network in `model.pt`."""

from pathlib import Path

import numpy as np
import torch

from songrec.errors import UnusableAudioError
from songrec.network.checkpoint import load_model
from songrec.network.device import pick_device, to_channels_last, to_input
from songrec.sound.audio import load_audio
from songrec.sound.mel import cut, mel_picture
from songrec.sound.patterns import pattern_vector
from songrec.sound.timbre import Timbres
from songrec.store.descriptions import Descriptions
from songrec.store.slices import read_slices

_BATCH = 64


class Embedder:
    """The trained network without its last Linear layer, ready to embed.

    Raises
    ------
    ModelError, RecipeMismatchError
        As `load_model` does.
    """

    def __init__(self, model_path: Path, n_threads: int) -> None:
        torch.set_num_threads(n_threads)
        self._device = pick_device()
        classifier = load_model(model_path).classifier.to(self._device)
        self._network = to_channels_last(classifier.embedder())

    def describe_slices(self, slices: np.ndarray) -> Descriptions:
        """Describe one song by its slices.

        Parameters
        ----------
        slices : np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]

        Returns
        -------
        Descriptions
            One row: the mean of the slices' latent vectors, the timbre, the patterns.

        Raises
        ------
        UnusableAudioError
            If a vector is not finite, or is zero and so has no direction.
        """
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(slices), _BATCH):
                x = to_input(slices[start : start + _BATCH], self._device)
                vectors.append(self._network(x).float().cpu().numpy())
        vector = np.concatenate(vectors).mean(axis=0)
        timbre = Timbres.of_slices(slices)
        patterns = pattern_vector(slices, timbre)
        if not all(np.isfinite(found).all() and found.any() for found in (vector, patterns)):
            raise UnusableAudioError("there is nothing in it to compare")
        return Descriptions(vector[None], timbre, patterns[None])

    def describe_folder(self, folder: Path) -> Descriptions:
        """Describe a song by its folder of slices."""
        return self.describe_slices(read_slices(folder))

    def describe_audio(self, path: Path) -> Descriptions:
        """Describe any audio file.

        Raises
        ------
        SongError
            If the file cannot be decoded or holds nothing to compare.
        """
        samples, _ = load_audio(path)
        return self.describe_slices(cut(mel_picture(samples)))
