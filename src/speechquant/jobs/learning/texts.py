"""What the model is to write for each training utterance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speechquant.data import Corpus
from speechquant.errors import DataError
from speechquant.learn.training import spelled, targets_of, task_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from speechquant.evaluation import Evaluator
    from speechquant.jobs.progress import Progress
    from speechquant.models import SpeechModel

__all__ = ["SPELL", "plain_targets", "spell"]

SPELL = "float transcripts"
"""The step that `spell` is."""

_PLACEHOLDER = (0,)


def plain_targets(model: SpeechModel, train: Corpus, *, learns_text: bool) -> dict[str, tuple[int, ...]]:
    """Ids by utterance, of transcripts as they are written down.

    Without `learns_text` the ids stand for nothing and every utterance has some: only the number of a frame or
    token decides where the outputs of two networks are compared.

    Raises:
        DataError: not one transcript has a letter that the model can write.
    """
    if not learns_text:
        return {utterance.id: _PLACEHOLDER for utterance in train}
    targets = targets_of(model)
    punctuates = model.runtime.writes_punctuation
    texts = {
        item.id: spelled(item.text, None, "none") if punctuates else item.text for item in train if item.text
    }
    found = {name: tuple(targets.encode(text)) for name, text in texts.items()}
    found = {name: ids for name, ids in found.items() if ids}
    if not found:
        raise DataError(
            f"{train.name}: no transcript has a letter of the model's vocabulary; check the language"
        )
    return found


def spell(
    model: SpeechModel,
    train: Corpus,
    wanted: Iterable[str],
    targets: dict[str, tuple[int, ...]],
    *,
    evaluator: Evaluator,
    progress: Progress,
    learns_text: bool,
) -> None:
    """Replace targets of a model that writes case and punctuation by its own spelling, where it heard right.

    The decoder also needs tokens to follow where there are no transcripts; these are what the float model
    writes.

    Args:
        model: the float model, before training.
        train: the training set.
        wanted: ids of the utterances that training will see.
        targets: ids by utterance, changed in place.
        evaluator: runs the model, and knows the text normaliser that decides what is the same.
        progress: hears of it.
        learns_text: whether transcripts are to be learned.
    """
    if model.runtime.task == "ctc":
        return
    names = set(wanted)
    part = Corpus(train.name, tuple(item for item in train if item.id in names))
    with progress.stage(f"{SPELL} of train") as advance:
        heard = evaluator.transcribe(model.recognizer(), part, advance).texts
    encoder, task = targets_of(model), task_of(model)
    for utterance in part:
        text = heard.get(utterance.id)
        if text is None:
            continue
        if learns_text:
            text = spelled(utterance.text or "", text, evaluator.normalizer)
        ids = tuple(encoder.encode(text))
        if ids and task.fits(0, ids):
            targets[utterance.id] = ids
