"""Song-Recommender: find the songs in your own music that sound like one you name.

The root scripts are the stages; this package holds what they share, a folder a subject. Data
flows one way: songs -> specs -> slices -> arrays or vectors -> answer.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # one line instead of a traceback about syntax
    sys.exit(f"Song-Recommender needs Python 3.11 or newer; this is {sys.version.split()[0]}")

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from songrec.recommend.answer import Answer, Question, Recommendation
    from songrec.recommend.recommender import Recommender

__version__ = "0.1.0"
__all__ = ["Answer", "Question", "Recommendation", "Recommender", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  # numpy is imported only by those who ask
    if name == "Recommender":
        from songrec.recommend import recommender

        return recommender.Recommender
    if name in __all__:
        from songrec.recommend import answer

        return getattr(answer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
