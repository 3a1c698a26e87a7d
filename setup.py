"""What pyproject.toml cannot say: `configs` and `data_prep` are installed inside csst_jax (docs/adr/0014)."""

from setuptools import find_packages, setup

BUNDLED = ("configs", "data_prep")

setup(
    packages=[
        *find_packages(include=["csst_jax", "csst_jax.*"]),
        *(f"csst_jax.bundled.{name}" for top in BUNDLED for name in find_packages(include=[top, f"{top}.*"])),
    ],
    package_dir={f"csst_jax.bundled.{top}": top for top in BUNDLED},
    package_data={
        "csst_jax": ["models/counted.jsonl", "serving/page.html"],
        "csst_jax.bundled.data_prep": ["splits/**/*.txt"],
    },
)
