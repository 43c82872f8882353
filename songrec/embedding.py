"""Slices -> what a song is compared by, with the embedder in `model.pt`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from songrec.audio import load_audio
from songrec.checkpoint import load_model
from songrec.device import pick_device, to_channels_last, to_input
from songrec.errors import UnusableAudioError
from songrec.patterns import pattern_vector
from songrec.picture import mel_picture
from songrec.ranking import Descriptions
from songrec.slices import cut, join, read_slices
from songrec.timbre import Timbres

_BATCH = 64


class Embedder:
    """The trained network without its last Linear layer, ready to embed.

    Parameters
    ----------
    model_path
        A model.pt.
    n_threads
        Threads of torch.
    context_slices
        How many slices are heard at once in `contexts` and `classes`; by default as many as the
        network's kind says.

    Raises
    ------
    ModelError, RecipeMismatchError
        As `load_model` does.
    """

    def __init__(self, model_path: Path, n_threads: int, context_slices: int | None = None) -> None:
        torch.set_num_threads(n_threads)
        self._device = pick_device()
        classifier = load_model(model_path).classifier.to(self._device)
        self._network = to_channels_last(classifier.embedder())
        self._classify = classifier.classify
        self._context_slices = context_slices or classifier.context_slices

    def describe_slices(self, slices: np.ndarray) -> Descriptions:
        """Describe one song by its slices.

        Parameters
        ----------
        slices : np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]

        Returns
        -------
        Descriptions
            One row.

        Raises
        ------
        UnusableAudioError
            If a vector is not finite or is zero, and so has no direction.
        """
        batches = (slices[start : start + _BATCH] for start in range(0, len(slices), _BATCH))
        vector, classes = self._mean_of(batches)
        context = vector
        if self._context_slices > 1:
            contexts = join(slices, self._context_slices)
            context, classes = self._mean_of(picture[None] for picture in contexts)
        timbre = Timbres.of_slices(slices)
        patterns = pattern_vector(slices, timbre)
        if not all(
            np.isfinite(found).all() and found.any() for found in (vector, context, patterns)
        ):
            raise UnusableAudioError("there is nothing in it to compare")
        return Descriptions(vector[None], context[None], timbre, patterns[None], classes[None])

    @torch.inference_mode()
    def _mean_of(self, batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the means of the latent vectors and of the class probabilities of pictures."""
        vectors, classes = [], []
        for pictures in batches:
            latent = self._network(to_input(pictures, self._device))
            vectors.append(latent.float().cpu().numpy())
            classes.append(self._classify(latent).float().softmax(dim=1).cpu().numpy())
        return np.concatenate(vectors).mean(axis=0), np.concatenate(classes).mean(axis=0)

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
