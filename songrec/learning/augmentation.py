"""Changes to the training pictures that leave what they sound like."""

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
        transforms = import_torchaudio_transforms()
        self._masks = (
            transforms.TimeMasking(_TIME_MASK_FRAMES, iid_masks=True),
            transforms.FrequencyMasking(_FREQUENCY_MASK_BANDS, iid_masks=True),
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return a masked copy of pictures [shape=(n, 1, n_mels, n_frames)]."""
        for mask in self._masks:
            x = mask(x)
        return x


def import_torchaudio_transforms() -> types.ModuleType:
    """Import `torchaudio.transforms`, also beside a torch without CUDA.

    PyPI's torchaudio links its compiled part to CUDA, and its import raises OSError where
    torch is a CPU build. The transforms used here are pure Python, and torchaudio works
    without its compiled part when that file is absent; this shows it the same state.
    """
    try:
        return importlib.import_module("torchaudio.transforms")
    except OSError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _absent_extension()
        return importlib.import_module("torchaudio.transforms")


def _absent_extension() -> types.ModuleType:
    """Return what `torchaudio._extension` is where its compiled part is not installed."""

    def fail_if_no_align(_: object) -> object:
        def fail(*_args: object, **_kwargs: object) -> None:
            raise RuntimeError("torchaudio's alignment extension is not available")

        return fail

    module = types.ModuleType("torchaudio._extension")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        fail_if_no_align=fail_if_no_align,
    )
    return module
