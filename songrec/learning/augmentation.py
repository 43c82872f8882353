"""Random masks on the training pictures."""

import importlib
import sys
import types

import torch

# At most a fifth of a slice's time and a sixth of its bands.
_TIME_MASK_FRAMES = 24
_FREQUENCY_MASK_BANDS = 20


class SpectrogramMasks:
    """Hide one random stretch of time and one random range of bands of each picture.

    SpecAugment without its warping (Park et al., Interspeech 2019). Hidden pixels become 0,
    the picture's silence.
    """

    def __init__(self) -> None:
        self._mask = import_torchaudio_functional().mask_along_axis_iid

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return a masked copy of pictures [shape=(n, 1, n_mels, n_frames)]."""
        for axis, most in ((3, _TIME_MASK_FRAMES), (2, _FREQUENCY_MASK_BANDS)):
            x = self._mask(x, most, 0.0, axis)
        return x


def import_torchaudio_functional() -> types.ModuleType:
    """Import `torchaudio.functional`, also beside a torch without CUDA.

    PyPI's torchaudio has a compiled part that needs CUDA, so that importing it raises OSError
    where torch is a CPU build. The masks are pure Python, and torchaudio does without the
    compiled part where its loader finds no such file; the loader is made to find none.
    """
    try:
        return importlib.import_module("torchaudio.functional")
    except OSError:
        # The loader's module is still there: only the packages above it failed to import.
        vars(sys.modules["torchaudio._extension.utils"])["_load_lib"] = lambda _name: False
        return importlib.import_module("torchaudio.functional")
