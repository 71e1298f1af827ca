"""The part of the training speech on which sensitivities of matrices are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data import iter_loaded, nothing_usable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speechquant.data import Skipped
    from speechquant.jobs.learning.session import Session

__all__ = ["probe_speech"]


def probe_speech(session: Session) -> list[NDArray[np.float32]]:
    """As many utterances as the recipe says, each of shape (time,).

    Raises:
        DataError: no utterance can be used.
    """
    recipe = session.recipe
    corpus = session.roles.train.subset(limit=recipe.probe_utterances, seed=recipe.seed)
    skipped: list[Skipped] = []
    waves = [samples for _, samples in iter_loaded(corpus, strict=recipe.strict, on_skip=skipped.append)]
    if not waves:
        raise nothing_usable(corpus.name, skipped)
    return waves
