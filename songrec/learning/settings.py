"""The settings of a training and their defaults; light to import."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained; kept in `model.pt`.

    Attributes
    ----------
    architecture
        "ResidualCNN", or "StridedCNN", which computes a slice many times faster.
    loss
        "cross-entropy", or "focal", which gives hard slices more weight.
    optimizer
        "adamw", or "sgd" with momentum 0.9.
    augment
        Mask random times and bands of the training pictures.
    seed
        Of the weights, the order of slices and the masks.
    """

    architecture: str = "ResidualCNN"
    epochs: int = 16
    batch_size: int = 128
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    loss: str = "cross-entropy"
    optimizer: str = "adamw"
    augment: bool = True
    seed: int = 0
