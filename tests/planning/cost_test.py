"""Costs and collectives, read from compiled programs."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from csst_jax.planning import cost as program_cost
from csst_jax.planning.cost import Collective
from csst_jax.train.sharding import DATA, make_mesh, replicated

HLO = """
ENTRY %main {
  %all-reduce.1 = (f32[576]{0:T(1024)S(1)}, bf16[3,3,4,8]{3,2,1,0:T(8,128)(2,1)}) all-reduce(%a, %b), channel_id=51
  %start = f32[10]{0} all-reduce-start(%c), to_apply=%sum
  %done = f32[10]{0} all-reduce-done(%start)
  %gather-start = (f32[2,8]{1,0}, f32[16,8]{1,0}) all-gather-start(%d), dimensions={0}
  %gather-done = f32[16,8]{1,0} all-gather-done(%gather-start)
  %all-gather.7 = pred[100]{0} all-gather(%e)
  %shift = (bf16[4,4]{1,0}, bf16[4,4]{1,0}, u32[], u32[]) collective-permute-start(%f), source_target_pairs={{0,1}}
  %shifted = bf16[4,4]{1,0} collective-permute-done(%shift)
  ROOT %fusion = f32[] fusion(%all-reduce.1), calls=%all-gather-like
}
"""


def test_collectives_are_counted_once_with_their_results_bytes():
    assert program_cost.collectives(HLO) == {
        "all-reduce": Collective(2, 576 * 4 + 288 * 2 + 40),
        "all-gather": Collective(2, 16 * 8 * 4 + 100),
        "collective-permute": Collective(1, 32),
    }
    assert program_cost.collectives("ENTRY %main { ROOT %add = f32[] add(%a, %b) }") == {}


def test_cost_of_a_compiled_program():
    mesh = make_mesh(jax.devices(), 1)
    by_rows, everywhere = NamedSharding(mesh, PartitionSpec(DATA)), replicated(mesh)
    x, w = jax.ShapeDtypeStruct((80, 32), jnp.float32), jax.ShapeDtypeStruct((32, 16), jnp.float32)

    def column_sums(x, w):
        return jnp.sum(x @ w, 0)

    jitted = jax.jit(column_sums, in_shardings=(by_rows, everywhere), out_shardings=everywhere)
    cost = program_cost.program_cost(jitted.lower(x, w).compile())
    assert cost.collectives == {"all-reduce": Collective(1, 16 * 4)}
    assert cost.flops == pytest.approx(2 * 10 * 32 * 16, rel=0.05), "one device has ten of the rows"
    assert cost.memory_bytes >= (10 * 32 + 32 * 16 + 16) * 4
    assert cost.bytes_accessed >= (10 * 32 + 32 * 16) * 4


@pytest.mark.parametrize(
    "message,expected",
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (16.00G) "
            "exceeds available HBM (15.75G).",
            16 * 2**30,
        ),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 512.5M of 15.75G hbm.", 1025 * 2**19),
        ("RESOURCE_EXHAUSTED: no figure", None),
    ],
)
def test_needed_memory_is_read_from_the_refusal(message, expected):
    assert program_cost.needed_bytes(message) == expected
