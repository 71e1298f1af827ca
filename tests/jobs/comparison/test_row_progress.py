"""One bar over all rows: it never goes back, never past its end, and names the row."""

from __future__ import annotations

from contextlib import contextmanager

import speechquant as sq


class Listener:
    def __init__(self):
        self.steps, self.notes = [], []

    @contextmanager
    def stage(self, title):
        yield lambda done, total, what="": self.steps.append((title, done, total, what))

    def note(self, message):
        self.notes.append(message)


def test_the_bar(tiny, tmp_path):
    listener = Listener()
    sq.compare(output=tmp_path / "out", methods="max,stablequant", progress=listener, **tiny)
    steps = [step[1:] for step in listener.steps if step[0] == "compare"]
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 100)
    assert {total for _, total, _ in steps} == {100}
    texts = [what for _, _, what in steps]
    assert any(text.startswith("row 3 of 3, stablequant w8a8: search: cut-off 0.2 %") for text in texts)
    # The search is most of the work, so the bar is far from its middle when two rows of three are done.
    assert max(d for d, _, what in steps if what.startswith("row 2")) < 30
