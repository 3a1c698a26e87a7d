# shellcheck shell=bash
# Sourced, on the machines that compute: all flags of XLA, libtpu and NCCL that the project sets, each with its reason.
# None has been measured by us on a GPU or TPU. What the environment sets already comes last, and so wins.

# GPU: the compiler may move collectives, so that gradients are summed while the backward pass goes on (docs.jax.dev, "GPU
# performance tips"; NVIDIA's JAX images set it). Other platforms know the flag and ignore it.
export XLA_FLAGS="--xla_gpu_enable_latency_hiding_scheduler=true ${XLA_FLAGS:-}"

# TPU: nothing. What the steps need of the compiler is passed to it with each program (csst_jax/train/step.py), so that
# csst_jax.plan compiles the same programs. To try a flag: LIBTPU_INIT_ARGS=--xla_tpu_… in the environment.

# NCCL: nothing. See docs/pods.md for what to set when it chooses the wrong network.
