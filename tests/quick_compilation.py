"""Tests compile far longer than they compute: flags with which XLA does so in a third of the processor time."""

import importlib.metadata

# Without LLVM's optimiser, by the older generator, and in one part: each has a cost of its own.
XLA_FLAGS = "--xla_backend_optimization_level=0"
# Later versions have one code generator, and end a process that names another.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
