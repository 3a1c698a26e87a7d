"""Imports go one way, files stay small, and what the design keeps apart stays apart."""

import ast
import pathlib
import statistics

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A module may import from its own level and from those below. The longest matching prefix counts.
LEVELS = (
    ("main", "command_line"),
    ("studying",),
    ("pipeline",),
    ("serving",),
    ("prediction", "suggestion"),
    ("stages", "planning", "report", "reporting"),
    ("build", "settings.resolve"),
    ("settings",),
    ("train", "data", "evaluation", "planning.cost", "planning.topology"),
    ("methods", "losses", "samplers", "schedules", "models"),
    ("models.layers", "models.preprocessing"),
    ("models.ops",),
    ("precision", "platforms", "registry", "runtime", "streams", "train_state"),
    ("user_files", "own_packages", "arguments"),
    ("types",),
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in ("csst_jax", "data_prep", "configs")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "__init__.py"
}
OURS = sorted(name for name in MODULES if name.startswith("csst_jax."))


def is_command(module):
    """Whether it is a file of csst_jax itself that `python -m` runs."""
    return module.count(".") == 1 and '\nif __name__ == "__main__":\n' in MODULES[module].read_text(encoding="utf-8")


# Commands stand beside main, but for those that have a level because others import them.
COMMANDS = {module.partition(".")[2] for module in OURS if is_command(module)} - LEVEL.keys()


def tree(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module):
    """Every module that `module` imports anywhere, also inside functions and for the type checker alone."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            # `from csst_jax.models import zoo` imports a module, `from csst_jax.types import Phase` a name of one.
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_package = (ROOT / node.module.replace(".", "/")).is_dir()
                found.add(full if full in MODULES or is_package else node.module)
    return found


def importers(library):
    return {m for m in MODULES if any(i == library or i.startswith(f"{library}.") for i in imports(m))}


def level(module):
    parts = module.split(".")[1:]
    if parts[0] in COMMANDS:
        return 0
    for length in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:length])) in LEVEL:
            return LEVEL[prefix]
    raise AssertionError(f"{module} has no level; give it one in {__file__}")


def test_the_walk_sees_imports():
    assert "evaluate" in COMMANDS
    assert "csst_jax.pipeline" in imports("csst_jax.main")  # inside a function
    assert "csst_jax.models.zoo" in imports("csst_jax.build")  # a module out of its package
    assert "csst_jax.types" in imports("csst_jax.build")
    assert level("csst_jax.main") < level("csst_jax.stages.train") < level("csst_jax.models.zoo")
    assert level("csst_jax.models.zoo") < level("csst_jax.models.layers") < level("csst_jax.types")


@pytest.mark.parametrize("module", OURS)
def test_imports_go_one_way(module):
    upward = [i for i in imports(module) if i.startswith("csst_jax.") and level(i) < level(module)]
    assert not upward, f"{module} imports from above: {upward}"
    other_roots = [i for i in imports(module) if i.split(".")[0] in ("configs", "data_prep", "tests")]
    if module == "csst_jax.settings.ranges":  # keys and defaults
        other_roots.remove("configs.base")
    assert not other_roots, f"{module} imports {other_roots}"


def test_data_prep_knows_of_csst_jax_only_data_and_types():
    """And its commands that look at a run: the configuration, what is made of it, and pictures."""
    allowed = (
        "csst_jax.arguments",
        "csst_jax.data.",
        "csst_jax.runtime.patience",
        "csst_jax.types",
        "csst_jax.user_files",
    )
    more = {
        "data_prep.annotated.written": ("csst_jax.runtime.storage",),
        "data_prep.check": ("csst_jax.command_line",),
        "data_prep.found_files": ("csst_jax.runtime.workdir",),
        "data_prep.growth": ("csst_jax.runtime.json_files",),
        "data_prep.inspect_sampling": tuple(
            f"csst_jax.{room}"
            for room in ("build", "command_line", "methods", "samplers", "settings", "stages", "streams")
        ),
        "data_prep.pictures": ("csst_jax.evaluation.lettering", "csst_jax.evaluation.pictures"),
        "data_prep.splits": ("csst_jax.runtime.storage",),
    }
    wrong = {
        (module, i)
        for module in MODULES
        if module.startswith("data_prep.")
        for i in imports(module)
        if i.startswith("csst_jax") and not i.startswith((*allowed, *more.get(module, ())))
    }
    assert not wrong


def test_models_know_no_loss_no_metric_and_no_config():
    rooms = (
        "arguments",
        "models.",
        "platforms",
        "precision",
        "runtime.outputs",
        "runtime.storage",
        "types",
        "user_files",
    )
    known = tuple(f"csst_jax.{name}" for name in rooms)
    for module in OURS:
        if module.startswith("csst_jax.models."):
            ours = {i for i in imports(module) if i.startswith("csst_jax.")}
            assert all(i.startswith(known) for i in ours), module


def test_configuration_is_read_at_the_top_alone():
    allowed = {
        "csst_jax.settings.resolve",
        "csst_jax.settings.config_file",
        "csst_jax.settings.ranges",
        "csst_jax.settings.recorded",
        "csst_jax.settings.sized",
        "csst_jax.runtime.startup",
        "csst_jax.command_line",
        "csst_jax.studying.arms",
        "csst_jax.studying.command",
        "csst_jax.studying.methods",
        *(f"csst_jax.{c}" for c in COMMANDS),
        "data_prep.check",
        "data_prep.inspect_sampling",
    }
    readers = {m for m in importers("ml_collections") if not m.startswith("configs.")}
    assert readers <= allowed
    assert readers, "nobody reads the configuration: is this test blind?"


def test_tensorflow_stays_with_the_data():
    users = importers("tensorflow") | importers("tensorflow_datasets")
    assert users
    others = {"csst_jax.stages.label", "csst_jax.models.exporting.saved_model"}
    assert all(m.startswith(("csst_jax.data.", "data_prep.")) or m in others for m in users), users


def test_samplers_are_plain_numpy():
    for module in OURS:
        if module.startswith("csst_jax.samplers."):
            assert not {i for i in imports(module) if i.split(".")[0] in ("jax", "flax", "tensorflow")}, module


def test_shapes_are_imported_at_run_time():
    """jaxtyping leaves out annotations whose names it does not find, without a word (tests/shape_check.py)."""
    blind = []
    for module in OURS:
        for node in tree(module).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                froms = [n for n in node.body if isinstance(n, ast.ImportFrom)]
                blind += [module for n in froms if n.module == "jaxtyping"]
    assert not blind, f"move `from jaxtyping import` out of `if TYPE_CHECKING` in {', '.join(blind)}"


def num_lines(module):
    return len(MODULES[module].read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_are_small_and_named_for_what_they_hold(module):
    assert MODULES[module].stem not in ("utils", "helpers", "misc", "common")
    assert num_lines(module) <= 300


def test_half_of_the_files_are_short():
    """105 lines in the median when this was written."""
    assert statistics.median(map(num_lines, MODULES)) <= 110


def test_nothing_registers_itself():
    """Dispatch is by explicit dicts; JAX's pytree registration is the one decorator of that kind."""
    for module in OURS:
        for node in ast.walk(tree(module)):
            for decorator in getattr(node, "decorator_list", []):
                name = ast.unparse(decorator)
                assert "register" not in name or name.startswith("jax.tree_util."), f"{module}:{node.lineno}: @{name}"
