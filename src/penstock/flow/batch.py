"""One model call for several runs, once it is proven to change nothing.

Runs that wait together and whose values agree in dtype and in all axes but the first are joined
along the first axis, the model is called once, and its rows are split again. This starts only after
different rows gave the same answers alone and together, and is checked again after 1, 2, 4, 8, …
joined calls. The rows of the proof are those of real requests; if all of those are equal, one is
joined with a variation of itself. A joined call that fails is halved until only the culprit fails.
A run with a folder of its own is never joined: its model call may read a relative path.
"""

from __future__ import annotations

from collections.abc import Hashable
from time import perf_counter_ns
from typing import Any, NamedTuple

from penstock.flow.blocks import Block, gather, pieces_of, taken_out
from penstock.flow.context import Run
from penstock.flow.desk import Desk
from penstock.flow.rows import join, join_key, row_count, same_rows, split, varied
from penstock.flow.stage import LoadedStage

UNPROVEN, ON, OFF = "unproven", "on", "off"

#: Most runs of one proof, and most attempts with made-up rows.
_PROOF_RUNS = 4
_COMPANION_TRIES = 3


class _Part(NamedTuple):
    """A run, its converted value and how many rows that has."""

    run: Run
    value: Any
    rows: int


class Joiner:
    """Joins the model calls of one stage.

    Args:
        stage: The stage.
        max_rows: Most rows of one joined call; 1 or less turns joining off.
    """

    def __init__(self, stage: LoadedStage, max_rows: int) -> None:
        self._stage = stage
        self._max_rows = max_rows
        self._hands_on = stage.hands_on
        self._calls = 0
        self._runs = 0
        self._tries = 0
        self.changed = False
        self.state = UNPROVEN
        self.reason = "No two requests have waited together yet."
        if max_rows <= 1:
            self._turn_off("max_batch is 1.")
        elif not stage.model.joinable:
            why = getattr(stage.model, "never_joined", "The model declares a fixed first axis.")
            self._turn_off(why)

    def facts(self) -> dict[str, Any]:
        """Return state, reason, and how many joined calls answered how many runs."""
        return {
            "state": self.state,
            "reason": self.reason,
            "joined_calls": self._calls,
            "joined_runs": self._runs,
        }

    def answer(self, runs: list[Run], desk: Desk) -> None:
        """Call the model for several runs; each gets `value` or `error`."""
        if self.state is ON and len(runs) > 1 and not any(run.folder for run in runs):
            block = gather([run.value for run in runs], self._max_rows)
            if block is not None:
                desk.before(runs[0])
                if self._answer_block(runs, block):
                    return
        for run in runs:
            run.value = taken_out(run.value)
        if self.state is OFF:
            self._stage.answer_each(runs, desk)
            return
        for group in self._groups(runs, desk):
            for chunk in self._chunks(group):
                self._answer_chunk(chunk, desk)

    def _answer_block(self, runs: list[Run], block: Block) -> bool:
        """Convert and answer rows that are joined already; False if it has to be done singly."""
        began = perf_counter_ns()
        try:
            value = self._stage.convert(block.value)
            if row_count(value) != sum(block.counts):
                return False
            output = self._stage.predict(value)
            cut = pieces_of if self._hands_on else split
            pieces = cut(output, block.counts)
            if pieces is None or not self._count_joined(len(runs), value, block, pieces):
                return False
        except BaseException:  # noqa: BLE001 - answering singly finds out whose fault it is
            return False
        spent, shared = perf_counter_ns() - began, (len(runs), sum(block.counts))
        for run, piece in zip(runs, pieces, strict=True):
            run.value = piece
            run.joined += ((len(run.spent_ns), *shared),)
            run.spent_ns.append(spent)
        return True

    def _count_joined(self, runs: int, value: Any, block: Block, pieces: list[Any]) -> bool:
        self._calls += 1
        self._runs += runs
        if self._calls & (self._calls - 1):
            return True
        rows = split(value, block.counts)
        if rows is not None and self._still_same(rows[0], taken_out(pieces[0])):
            return True
        self._turn_off("Rows answered together came to differ from rows answered alone.")
        return False

    def _groups(self, runs: list[Run], desk: Desk) -> list[list[_Part]]:
        groups: dict[Hashable, list[_Part]] = {}
        for run in runs:
            if run.folder is not None:
                self._stage.answer_alone(run, desk)
                continue
            try:
                value = self._stage.convert(run.value)
            except BaseException as error:  # noqa: BLE001 - one run's value must not harm others
                run.error = self._stage.failed(run.value, error)
                run.spent_ns.append(0)
                continue
            key = join_key(value)
            part = _Part(run, value, row_count(value))
            groups.setdefault(id(run) if key is None or not part.rows else key, []).append(part)
        return list(groups.values())

    def _chunks(self, group: list[_Part]) -> list[list[_Part]]:
        chunks: list[list[_Part]] = []
        rows = self._max_rows
        for part in group:
            if rows + part.rows > self._max_rows:
                chunks.append([])
                rows = 0
            chunks[-1].append(part)
            rows += part.rows
        return chunks

    def _answer_chunk(self, chunk: list[_Part], desk: Desk) -> None:
        desk.before(chunk[0].run)
        if len(chunk) == 1 or self.state is OFF:
            for part in chunk:
                self._alone(part)
        elif self.state is UNPROVEN:
            self._prove(chunk)
        else:
            self._together(chunk)

    def _alone(self, part: _Part) -> None:
        began = perf_counter_ns()
        try:
            part.run.value = self._stage.predict(part.value)
        except BaseException as error:  # noqa: BLE001 - a model must not end the worker
            part.run.error = self._stage.failed(part.value, error)
        part.run.spent_ns.append(perf_counter_ns() - began)

    def _prove(self, chunk: list[_Part]) -> None:
        """Answer each alone, then see whether together gives the same."""
        for part in chunk:
            self._alone(part)
        answered = [(p.value, p.run.value) for p in chunk if p.run.error is None][:_PROOF_RUNS]
        if answered and not _differ([value for value, _ in answered]):
            answered = [answered[0], *self._companion(answered[0][0])]
        if len(answered) < 2:
            return
        pieces = self._try_together([value for value, _ in answered])
        if pieces is None:
            return
        if all(self._are_same(a, b) for (_, a), b in zip(answered, pieces, strict=True)):
            self.state = ON
            self.changed = True
            self.reason = "Different rows gave the same answers alone and together."
        else:
            self._turn_off("Rows answered together differ from rows answered alone.")

    def _companion(self, value: Any) -> list[tuple[Any, Any]]:
        """Return other rows and their answer, where all requests are equal; at most thrice."""
        other = varied(value) if self._tries < _COMPANION_TRIES else None
        self._tries += 1
        if other is None:
            return []
        try:
            return [(other, self._stage.predict(other))]
        except Exception:  # noqa: BLE001 - made-up rows may not suit the model
            return []

    def _try_together(self, values: list[Any]) -> list[Any] | None:
        try:
            output = self._stage.predict(join(values))
        except Exception as error:  # noqa: BLE001 - each answered alone, so joining is at fault
            self._turn_off(f"Together the model raised {type(error).__name__}: {error}"[:300])
            return None
        pieces = split(output, [row_count(value) for value in values])
        if pieces is None:
            self._turn_off("The model does not return one row per row it is given.")
        return pieces

    def _together(self, chunk: list[_Part]) -> None:
        began = perf_counter_ns()
        try:
            output = self._stage.predict(join([part.value for part in chunk]))
        except BaseException:  # noqa: BLE001 - the halves tell whose fault it is
            self._halve(chunk)
            return
        pieces = split(output, [part.rows for part in chunk])
        self._calls += 1
        self._runs += len(chunk)
        if pieces is None:
            self._turn_off("The model does not return one row per row it is given.")
        elif self._calls & (self._calls - 1) == 0 and not self._still_same(
            chunk[0].value, pieces[0]
        ):
            self._turn_off("Rows answered together came to differ from rows answered alone.")
        if pieces is None or self.state is OFF:
            for part in chunk:
                self._alone(part)
            return
        spent = perf_counter_ns() - began
        shared = len(chunk), sum(part.rows for part in chunk)
        for part, piece in zip(chunk, pieces, strict=True):
            run = part.run
            run.value = piece
            run.joined += ((len(run.spent_ns), *shared),)
            run.spent_ns.append(spent)

    def _halve(self, chunk: list[_Part]) -> None:
        middle = len(chunk) // 2
        for half in (chunk[:middle], chunk[middle:]):
            if len(half) == 1:
                self._alone(half[0])
            else:
                self._together(half)

    def _still_same(self, value: Any, piece: Any) -> bool:
        try:
            alone = self._stage.predict(value)
        except Exception:  # noqa: BLE001 - alone it fails, together it did not
            return False
        return self._are_same(alone, piece)

    def _are_same(self, alone: Any, together: Any) -> bool:
        comparable = getattr(self._stage.model, "comparable", None)
        try:
            if comparable is not None:
                alone, together = comparable(alone), comparable(together)
            return same_rows(alone, together, self._stage.model.exact)
        except Exception:  # noqa: BLE001 - what cannot be compared is not proven to be the same
            return False

    def _turn_off(self, reason: str) -> None:
        self.state = OFF
        self.reason = reason
        self.changed = True


def _differ(values: list[Any]) -> bool:
    first = values[0]
    return any(
        row_count(value) != row_count(first) or not same_rows(first, value, exact=True)
        for value in values[1:]
    )
