"""All blocks of a body as one program of compiled functions, from the embeddings to the last norm: a step of its sequences, or prompts.

Called one by one from Python they left the cores idle for a third of a step of GPT-2 with one sequence, and two thirds of one of SmolLM2. A body's
rows are computed either all by programs or none, however many there are: what a row is to the bit depends on nothing beside it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import Tensor

from mynah.decoding.body import Body
from mynah.decoding.compiled_adapter import CompiledRows
from mynah.decoding.compiled_attention import Rows, is_shared, is_shared_put, room_for_scores
from mynah.decoding.compiled_blocks import Places, Workspace, operations_of
from mynah.decoding.compiled_program import Numbers, Program, program_of

KEPT = 96  # templates of a body, of some 100 kB each: a step of each number of rows up to 64, and prompts


@dataclass(frozen=True, slots=True)
class _Template:
    """A program for a number of rows, whose copies are given the memory, the caches and the adapters of others.

    To write one takes 8 ms for SmolLM2, to change a copy 0.4 ms. Sequences join and leave all the time.

    Attributes:
        program: The operations.
        address: Of the workspace that they were written for, which is gone.
        moving: Which of the program's numbers are addresses in it.
        places: Which operations are to be changed.
    """

    program: Program
    address: int
    moving: Numbers
    places: Places


_templates: "WeakKeyDictionary[Body, OrderedDict[tuple[int, bool, bool], _Template]]" = WeakKeyDictionary()


def _template(body: Body, caches: Sequence[Tensor], rows: Rows, adapters: CompiledRows | None) -> _Template:
    """The template for rows like these."""
    own = _templates.setdefault(body, OrderedDict())
    key = len(rows.slots), rows.copies is not None, adapters is not None
    found = own.get(key)
    if found is None:
        workspace = Workspace(body, len(rows.slots))
        own_rows = Rows(workspace.slots, workspace.places, rows.copies)
        operations, places = operations_of(body, workspace, caches, own_rows, adapters)
        program = program_of(operations)
        found = _Template(program, workspace.memory.data_ptr(), program.places_within(workspace.memory), places)
        own[key] = found
        while len(own) > KEPT:
            own.popitem(last=False)
    return found


class CompiledStep:
    """A number of rows, as long as the caches stay where they are, and the rows' sequences and adapters are the same."""

    def __init__(self, body: Body, caches: Sequence[Tensor], rows: Rows, adapters: CompiledRows | None) -> None:
        """Prepare the program.

        Args:
            body: Whose `runs_as_program` holds.
            caches: Keys and values of each block, fp32 [2, slots, kv_heads, keys, head], contiguous.
            rows: The tokens; their places are set at each call.
            adapters: Of the rows; None where none has one.
        """
        self._kept = body, caches, rows, adapters  # which the program points to
        template = _template(body, caches, rows, adapters)
        self._workspace, self._scores = Workspace(body, len(rows.slots)), room_for_scores(caches[0])
        self._workspace.slots.copy_(rows.slots)
        self._program = template.program.copy()
        self._program.move(template.moving, self._workspace.memory.data_ptr() - template.address)
        self._set_attention(template.places, body, caches, rows)
        if adapters:
            self._set_adapters(template.places, adapters)

    def _set_attention(self, which: Places, body: Body, caches: Sequence[Tensor], rows: Rows) -> None:
        from mynah.decoding.compiled.attention_step import ATTEND, PUT

        of, count, addresses = body.architecture, len(rows.slots), [each.data_ptr() for each in caches]
        sizes = {"cache_slots": caches[0].shape[1], "keys": caches[0].shape[3]}
        room = {"scores": self._scores.data_ptr(), "workers": len(self._scores)}
        self._program.set(which.attends, ATTEND, cache=addresses, **sizes, **room)
        self._program.run_in_team(which.attends, is_shared(of, count, sizes["keys"]))
        if rows.copies is not None:
            copied, slots, places = (each.data_ptr() for each in rows.copies)
            copies = {"copies": rows.copies.shape[1], "rows": copied, "slots": slots, "places": places}
            self._program.set(which.puts, PUT, cache=addresses, **sizes, **copies)
            self._program.run_in_team(which.puts, is_shared_put(of, rows.copies.shape[1]))

    def _set_adapters(self, which: Places, adapters: CompiledRows) -> None:
        from mynah.decoding.compiled.adapter_product import CALL

        for product, operations in enumerate(which.adds):
            self._program.set(operations, CALL, rows=adapters.address, count=adapters.count)
            self._program.run_in_team(operations, adapters.in_team[product])

    def __call__(self, hidden: Tensor, places: Tensor) -> Tensor:
        """Compute the rows.

        Args:
            hidden: The tokens' embeddings, fp32 [rows, width].
            places: Of the tokens in their sequences now, int64 [rows].

        Returns:
            fp32 [rows, width], after the last norm.
        """
        self._workspace.hidden.copy_(hidden)
        self._workspace.places.copy_(places)
        self._program.run()
        return self._workspace.normed.clone()
