"""The room that imports `configs`: here it is made sure that it can."""

from csst_jax.own_packages import make_importable

make_importable()
