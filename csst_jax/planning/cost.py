"""What a compiled program costs, as its compiler counts it: operations, memory and its traffic, collectives."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jax.stages import Compiled

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# `%name = SHAPE all-reduce-start(…)`: a done half repeats the shape of its start and is left out.
_COLLECTIVE = re.compile(rf"^\s*(?:ROOT )?%?[\w.-]+ = (.*?) ({'|'.join(KINDS)})(-start)?\(", re.M)
_ARRAY = re.compile(r"\b(pred|(?:bf|f|s|u|c)(\d+)\w*)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Collective:
    """All exchanges of one kind in a program.

    Attributes:
      count: how many instructions; one in a loop counts once.
      bytes: of their results on one device, added up.
    """

    count: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class ProgramCost:
    """Figures of one device's program; None where the compiler does not say.

    Attributes:
      flops: floating point operations.
      bytes_accessed: what all instructions read and write, whichever memory it lies in; a loop's body counts once.
      memory_bytes: arguments, results and temporaries, and the program itself.
      collectives: exchanges between devices by kind; kinds that do not occur are left out.
    """

    flops: float | None
    bytes_accessed: float | None
    memory_bytes: int | None
    collectives: dict[str, Collective]


def program_cost(compiled: Compiled) -> ProgramCost:
    """Reads a compiled program."""
    return ProgramCost(
        _analysis(compiled, "flops"),
        _analysis(compiled, "bytes accessed"),
        memory_bytes(compiled),
        collectives(compiled.as_text() or ""),
    )


def flops(compiled: Compiled) -> float | None:
    """Floating point operations of one run on one device."""
    return _analysis(compiled, "flops")


def memory_bytes(compiled: Compiled) -> int | None:
    """Arguments, results, temporaries and code on one device."""
    memory = compiled.memory_analysis()
    if memory is None:
        return None
    # Donated arguments share their memory with results.
    used = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return int(used + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes)


def collectives(hlo: str) -> dict[str, Collective]:
    """Exchanges between devices in the text of a compiled program.

    Arrays that go together in one exchange are one; the two halves of an asynchronous one count once.
    """
    found: dict[str, list[int]] = {}
    for match in _COLLECTIVE.finditer(hlo):
        shape, kind, started = match.groups()
        sizes = _array_bytes(shape)
        # The start of an asynchronous exchange returns its operands as well, except an all-reduce's.
        if started and kind != "all-reduce":
            sizes = _results(sizes, shape)
        found.setdefault(kind, []).append(sum(sizes))
    return {kind: Collective(len(found[kind]), sum(found[kind])) for kind in KINDS if kind in found}


def needed_bytes(message: str) -> int | None:
    """How much memory a program would need, from the compiler's refusal; None where it does not say.

    It says for example "total memory required for HLO temporaries (16.00G) exceeds available HBM (15.75G)".
    """
    match = re.search(r"(?:required[^(]*\(|[Uu]sed )([\d.]+)([KMGT]?)", message)
    return None if match is None else int(float(match[1]) * 1024 ** " KMGT".index(match[2] or " "))


def _analysis(compiled: Compiled, name: str) -> float | None:
    analysis = compiled.cost_analysis()
    return None if not analysis or name not in analysis else float(analysis[name])


def _array_bytes(shape: str) -> list[int]:
    """Bytes of each array in an HLO shape such as `(f32[2,3]{1,0}, bf16[])`, without the padding of its layout."""
    sizes = []
    for dtype, bits, sides in _ARRAY.findall(shape):
        elements = math.prod(int(side) for side in sides.split(",") if side)
        sizes.append(elements if dtype == "pred" else elements * int(bits) // 8)
    return sizes


def _results(sizes: list[int], shape: str) -> list[int]:
    # Operands, as many results, and for a permutation two numbers of context: (f32[8], f32[8], u32[], u32[]).
    arrays = len(sizes) - len(re.findall(r"\bu32\[\]", shape))
    return sizes[arrays // 2 : arrays]
