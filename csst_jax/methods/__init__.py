"""Ways to train a network on what labels and images there are, by the name that `method.name` gives."""

METHODS = {
    "supervised": "csst_jax.methods.supervised:Supervised",
    "real_and_pseudo": "csst_jax.methods.real_and_pseudo:RealAndPseudo",
    "mean_teacher": "csst_jax.methods.mean_teacher:MeanTeacher",
    "consistency": "csst_jax.methods.consistency:Consistency",
    "freematch": "csst_jax.methods.freematch:FreeMatch",
    "unimatch": "csst_jax.methods.unimatch:UniMatch",
    "unimatch_v2": "csst_jax.methods.unimatch_v2:UniMatchV2",
    "cps": "csst_jax.methods.cps:CrossPseudoSupervision",
    "model_regulariser": "csst_jax.methods.model_regulariser:ModelRegulariser",
    "cct": "csst_jax.methods.cct:CrossConsistency",
    "u2pl": "csst_jax.methods.u2pl:U2PL",
    "pseudoseg": "csst_jax.methods.pseudoseg:PseudoSeg",
    "hlcon": "csst_jax.methods.hlcon:HighAndLowConsistency",
    "corrmatch": "csst_jax.methods.corrmatch:CorrMatch",
    "dst_cbc": "csst_jax.methods.dst_cbc:DynamicSelfTraining",
}
"""Each is a subclass of `csst_jax.methods.base.Method`."""
