"""The part of the training speech on which sensitivities of matrices are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data import usable_waves

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechquant.jobs.learning.session import Session

__all__ = ["probe_speech"]


def probe_speech(session: Session) -> list[NDArray[np.float32]]:
    """As many utterances as the recipe says, each of shape (time,).

    Raises:
        DataError: no utterance can be used.
    """
    recipe = session.recipe
    corpus = session.roles.train.subset(limit=recipe.probe_utterances, seed=recipe.seed)
    return usable_waves(corpus, strict=recipe.strict)
