"""Which crops an epoch takes, by the name that `sampler.name` gives (paper §3.2)."""

SAMPLERS = {
    "centroid": "csst_jax.samplers.centroid:CentroidSampler",
    "class_uniform_tiles": "csst_jax.samplers.class_uniform_tiles:ClassUniformTilesSampler",
    "uniform": "csst_jax.samplers.uniform:UniformImageSampler",
}
"""Each has a dataclass `Settings`, whose fields its block `sampler.<name>` fills, `make(settings, candidates)`, and
`plan(epoch, seed, num_samples)`, which returns rows of `csst_jax.samplers.plan.PLAN_DTYPE`."""
