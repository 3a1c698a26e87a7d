"""The command, called in this process, and what it wrote."""

import json

from csst_jax import predict


def predicted(run, photos, output, *more, status=0):
    arguments = [f"--checkpoint={run}", f"--output={output}", "--compilation_cache_dir=", *more]
    assert predict.main([*arguments, *([] if photos is None else [f"--input={photos}"])]) == status


def lines(output):
    return {line["name"]: line for line in map(json.loads, (output / "images.jsonl").read_text().splitlines())}


def content(output):
    return {str(p.relative_to(output)): p.read_bytes() for p in sorted(output.rglob("*")) if p.is_file()}
