"""What the steps of the main job share: the model, the speech, the stored evaluations, the listener."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from speechquant.data import Corpus, Skipped, iter_loaded, nothing_usable, usable_waves
from speechquant.errors import ArtifactError, DataError, RecipeError
from speechquant.evaluation import EvaluationStore, Evaluator
from speechquant.jobs.recipe import Recipe
from speechquant.learn import round_weights, rounded
from speechquant.numerics import (
    DEFAULT_BINS,
    ScaleTable,
    calibrator_options,
    load_histograms,
    save_histograms,
)
from speechquant.search import Jury, Tables, plain, stablequant
from speechquant.simulation import activation_table, observe, quantized, weight_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from speechquant.evaluation import Evaluation
    from speechquant.jobs.progress import Advance, Progress
    from speechquant.jobs.sources import Corpora
    from speechquant.learn import RoundedWeights
    from speechquant.metrics import WordErrors
    from speechquant.models import SpeechModel
    from speechquant.numerics import Histogram, Site
    from speechquant.search import SearchResult

__all__ = ["Workbench"]

# Every operator is preceded by two passes over them.
_ROUNDING_UTTERANCES = 64


@dataclass(frozen=True, eq=False)
class Workbench:
    """One model on its three corpora.

    `work` holds what a killed run needs to go on; `skipped` the unusable audio by role, where it was left out
    before any evaluation.
    """

    model: SpeechModel
    corpora: Corpora
    recipe: Recipe
    store: EvaluationStore
    work: Path
    progress: Progress
    skipped: dict[str, tuple[Skipped, ...]] = field(default_factory=dict)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers to quantize, after `include` and `exclude`."""
        kept = tuple(layer for layer in self.model.layers() if self._wanted(layer))
        if not kept:
            raise RecipeError(
                f"--include and --exclude leave no layer; there are {', '.join(self.model.layers())}"
            )
        return kept

    @cached_property
    def normalizer(self) -> str:
        """The text normaliser of every figure."""
        suits = "whisper-english" if self.model.runtime.writes_punctuation else "upper"
        return self.recipe.normalizer or suits

    def scoring(self, corpus: Corpus) -> tuple[Evaluator, Corpus]:
        """How `corpus` is scored: against its transcripts, or with --audio-only the float model's own texts.

        The corpus comes back without the audio that turned out to be unusable.
        """
        strict, seed = self.recipe.strict, self.recipe.seed
        evaluator = Evaluator(self.normalizer, self.store, strict=strict, seed=seed)
        if self.recipe.audio_only is None:
            return evaluator, corpus
        with self.progress.stage(f"float transcripts of {corpus.name}") as advance:
            heard = evaluator.transcribe(self.model.recognizer(), corpus, advance)
        self.skipped[corpus.name] = heard.skipped
        texts = heard.texts
        if not any(text.strip() for text in texts.values()):
            raise DataError(f"the float model hears no words in the {corpus.name} audio; give it speech")
        usable = tuple(utterance for utterance in corpus if utterance.id in texts)
        against_float = Evaluator(self.normalizer, self.store, texts, strict=strict, seed=seed)
        return against_float, Corpus(corpus.name, usable)

    def simulate(
        self,
        table: ScaleTable,
        evaluator: Evaluator,
        corpus: Corpus,
        advance: Advance | None = None,
        weights: RoundedWeights | None = None,
    ) -> Evaluation:
        """Evaluate the torch simulation of `table`; the empty table is the float model.

        Weights are rounded to nearest, or as `weights` says.
        """
        if not len(table):
            return evaluator.evaluate(self.model.recognizer(), corpus, advance)
        names = f"{self.model.recognizer().signature}|{table.signature}"
        if weights is not None:
            names += f"|{weights.signature}"
        signature = hashlib.sha256(names.encode()).hexdigest()
        with self.on_grid(weights), quantized(self.model, table):
            return evaluator.evaluate(self.model.recognizer(signature=signature), corpus, advance)

    def on_grid(self, weights: RoundedWeights | None) -> AbstractContextManager[object]:
        """The model's weights are rounded inside the block; None leaves them in float."""
        return nullcontext() if weights is None else rounded(self.model, weights)

    def round(self, table: ScaleTable) -> RoundedWeights | None:
        """Round weights by the recipe's method on calibration speech; None for rounding to nearest."""
        if self.recipe.rounding_method == "nearest":
            return None
        with self.progress.stage("round weights") as advance:
            return self._round(table, advance)

    def _round(self, table: ScaleTable, advance: Advance) -> RoundedWeights:
        return round_weights(
            self.model,
            table,
            self._rounding_speech,
            method=self.recipe.rounding_method,
            seed=self.recipe.seed,
            work=self.work,
            progress=advance,
        )

    @cached_property
    def _rounding_speech(self) -> list[NDArray[np.float32]]:
        """Random calibration utterances."""
        recipe, corpus = self.recipe, self.corpora.calibration
        part, skipped = corpus.subset(limit=_ROUNDING_UTTERANCES, seed=recipe.seed), list[Skipped]()
        waves = usable_waves(part, strict=recipe.strict, on_skip=skipped.append)
        if recipe.weight_only:
            # No calibration has told of them.
            self._left_out(corpus, skipped)
        return waves

    def calibrate(self) -> dict[str, Histogram]:
        """One pass over the calibration speech, or what an earlier run of the same kept."""
        corpus = self.corpora.calibration
        key = hashlib.sha256(
            f"{self.model.results_signature}|{corpus.signature}|{DEFAULT_BINS}".encode()
        ).hexdigest()
        path = self.work / f"histograms-{key[:16]}.npz"
        kept = self.store.get("skipped", key)
        # Histograms are of no use without the record of what they lack, nor where they may lack nothing.
        if path.is_file() and kept is not None and not (kept and self.recipe.strict):
            try:
                histograms = load_histograms(path)
            except ArtifactError:
                path.unlink()
            else:
                self._left_out(corpus, [Skipped(*item) for item in kept])
                return histograms
        done = 0
        skipped: list[Skipped] = []
        with self.progress.stage("calibrate") as advance:

            def step() -> None:
                nonlocal done
                done += 1
                advance(done, len(corpus))

            loaded = iter_loaded(corpus, strict=self.recipe.strict, on_skip=skipped.append)
            waves = (samples for _, samples in loaded)
            if (first := next(waves, None)) is None:
                raise nothing_usable(corpus.name, skipped)
            histograms = observe(self.model, chain([first], waves), on_wave=step)
        self._left_out(corpus, skipped)
        self.store.put("skipped", key, [(item.id, item.reason) for item in skipped])
        save_histograms(path, histograms)
        return histograms

    def _left_out(self, corpus: Corpus, skipped: list[Skipped]) -> None:
        self.skipped[corpus.name] = tuple(skipped)
        for item in skipped:
            self.progress.note(f"skipped {item.id}: {item.reason}")

    def tables(self, histograms: Mapping[str, Histogram]) -> Tables:
        """Scale tables by layer, for the search, which knows layers only; each layer's scales are found once."""
        recipe = self.recipe
        sites: dict[str, list[Site]] = {}
        for site in self.model.sites():
            sites.setdefault(site.layer, []).append(site)
        known: dict[tuple[Any, ...], ScaleTable] = {}

        def remembered(
            layers: Iterable[str], key: tuple[Any, ...], make: Callable[..., ScaleTable]
        ) -> ScaleTable:
            wanted = list(layers)
            new = [layer for layer in wanted if (layer, *key) not in known]
            # All new layers at once: calibrators share work among sites.
            found = make([site for layer in new for site in sites[layer]]).entries.items()
            for layer in new:
                known[layer, *key] = ScaleTable({n: e for n, e in found if e.site.layer == layer})
            return ScaleTable({n: e for layer in wanted for n, e in known[layer, *key].entries.items()})

        def activations(layers: Iterable[str], calibrator: str, bits: int, **options: Any) -> ScaleTable:
            if recipe.weight_only:
                return ScaleTable({})
            settings = {**self._options(calibrator), **options}
            make = partial(
                activation_table, histograms=histograms, calibrator=calibrator, bits=bits, **settings
            )
            return remembered(layers, (calibrator, bits, *sorted(settings.items())), make)

        def weights(layers: Iterable[str], bits: int) -> ScaleTable:
            granularity, size = recipe.weight_form
            make = partial(
                weight_table,
                self.model,
                bits=bits,
                method=recipe.weight_method,
                granularity=granularity,
                group_size=size,
                percentile=recipe.percentile,
            )
            return remembered(layers, ("weights", bits, recipe.weight_method, recipe.percentile), make)

        return Tables(activations, weights)

    def search(self, histograms: Mapping[str, Histogram], evaluator: Evaluator, dev: Corpus) -> SearchResult:
        """Find the scale table by the recipe's method, on the dev set."""
        recipe, tables = self.recipe, self.tables(histograms)
        with self.progress.stage("search") as advance:
            expected = self._expected_passes()
            step = 0

            def tell(what: str) -> None:
                nonlocal step, expected
                step += 1
                if step > expected:
                    # Another search for a cut-off begins, of one layer or without one.
                    expected += len(recipe.cutoff_grid)
                advance(step, expected, what)

            def rounding(done: float, total: int, what: str = "") -> None:
                del done, total
                advance(step, expected, f"round {what}" if what else "hear the rounded model")

            def shipped(table: ScaleTable) -> WordErrors:
                weights = self._round(table, rounding)
                return self.simulate(table, evaluator, dev, weights=weights).errors

            score = self.scorer(evaluator, dev, whole=recipe.scales_by != "stablequant")
            if recipe.scales_by != "stablequant":
                tell(recipe.scales_by)
                return plain(self.layers, tables, score, calibrator=recipe.method, bits=recipe.bit_widths)
            return stablequant(
                self.layers,
                tables,
                score,
                bits=recipe.bit_widths,
                gamma=recipe.gamma,
                cutoffs=recipe.cutoff_grid,
                select_bits=recipe.select_bits,
                selection_calibrator=recipe.select_with,
                selection_weights=recipe.select_weights,
                per_layer=recipe.per_layer,
                max_drop=recipe.max_drop,
                shipped=None if recipe.rounding_method == "nearest" else shipped,
                on_step=tell,
            )

    def scorer(
        self, evaluator: Evaluator, dev: Corpus, *, whole: bool = False
    ) -> Callable[[ScaleTable], Any]:
        """What a search asks for scores on `dev`: a jury that hears parts of it, unless all is asked for."""
        if whole or self.recipe.full_search:
            return lambda table: self.simulate(table, evaluator, dev).errors
        heard = self.simulate(ScaleTable({}), evaluator, dev).score.utterances
        by_id = {utterance.id: utterance for utterance in dev}
        usable = [by_id[one.id] for one in heard]
        words = np.array([one.errors.words for one in heard])

        def errors(table: ScaleTable, part: NDArray[np.int64]) -> NDArray[np.int64]:
            # Speech without a single word cannot be scored alone.
            asked = part if words[part].any() else np.append(part, words.argmax())
            corpus = Corpus(dev.name, tuple(usable[index] for index in asked))
            found = self.simulate(table, evaluator, corpus).score.utterances
            return np.array([one.errors.errors for one in found[: len(part)]], dtype=np.int64)

        return Jury(words, errors, self.recipe.seed)

    def plain(self, histograms: Mapping[str, Histogram], calibrator: str) -> ScaleTable:
        """All layers by one calibrator, no search; "max" is what most tools start from.

        Where activations stay in float, it is what a weight would get without groups.
        """
        tables, bits = self.tables(histograms), self.recipe.bit_widths
        if self.recipe.weight_only:
            sites = [site for site in self.model.sites() if site.layer in self.layers]
            return weight_table(self.model, sites, bits=bits[0])
        return tables.weights(self.layers, bits[0]).merged(
            tables.activations(self.layers, calibrator, bits[1])
        )

    def _expected_passes(self) -> int:
        if self.recipe.scales_by != "stablequant":
            return 1
        return len(self.layers) + len(self.recipe.cutoff_grid)

    def _options(self, calibrator: str) -> dict[str, Any]:
        """The calibrator's options among the settings; None leaves an option at the calibrator's default."""
        known = (name for name in calibrator_options(calibrator) if name in Recipe.model_fields)
        found = {name: getattr(self.recipe, name) for name in known}
        return {name: value for name, value in found.items() if value is not None}

    def _wanted(self, layer: str) -> bool:
        included = not self.recipe.include or any(fnmatchcase(layer, p) for p in self.recipe.include)
        return included and not any(fnmatchcase(layer, p) for p in self.recipe.exclude)
