"""Grades of names that are not on the allow-list: an unknown component, or a possible attack.

Only the allow-list decides what passes. This module grades the rest, so that somebody else's bundle is summarized as "3
unknown": a class of MONAI or another package is unknown, a function of the standard library is dangerous.
"""

from __future__ import annotations

import builtins
import re
import sys

from radimagenet_monai.collection.verification.findings import Grade

# Modules of the standard library that neither run commands nor write.
_QUIET_MODULES = frozenset(
    {"collections", "copy", "datetime", "functools", "glob", "itertools", "math", "numbers", "random", "re"}
    | {"statistics", "string", "time", "typing"}
)
_QUIET_NAMES = re.compile(
    r"""sys(?:\.path(?:\.(?:append|insert))?)?
    | os | os\.(?:path(?:\.\w+)?|environ|cpu_count|sep|getcwd) | json(?:\.loads?)? | pathlib(?:\.(?:Pure)?Path)?
    | logging(?:\.(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|getLogger|info|warning))?""",
    re.VERBOSE,
)
_KNOWN_PACKAGES = frozenset(
    {"monai", "torch", "torchvision", "torch_tensorrt", "numpy", "ignite", "scipy", "skimage", "sklearn", "pandas"}
    | {"PIL", "cv2", "itk", "SimpleITK", "nibabel", "nrrd", "pydicom", "matplotlib", "tifffile", "imageio", "einops"}
    | {"tqdm", "timm", "transformers", "cucim", "cupy", "generative", "segment_anything", "scripts", "lpips"}
)
# Parts of these packages that run, compile, unpickle, connect or write.
_RUNNING = re.compile(
    r"""
    torch\.(?:hub|ops|classes|package|compile|compiler|save|from_file|serialization|multiprocessing)(?:\..*)?
    | torch\.(?:export|onnx|library|_\w+)(?:\..*)? | torch\.jit\.(?:save|\w*fork\w*)
    | torch\.utils\.(?:cpp_extension|collect_env|bottleneck|model_zoo|hipify|benchmark|_\w+)(?:\..*)?
    | torch\.distributed\.(?:launch|launcher|run|elastic|rpc|checkpoint|nn|\w*Store|\w*_object\w*)(?:\..*)?
    | numpy\.(?:load\w*|save\w*|fromfile|from\w*string|genfromtxt|memmap|DataSource)
    | numpy\.(?:lib|ctypeslib|f2py|distutils|core|testing)(?:\..*)?
    | monai\.(?:bundle|fl|config|deploy|_\w+)(?:\..*)? | monai\.auto3dseg\.(?!utils(?:\.datafold_read)?\Z).*
    | monai\.apps\.(?:utils|auto3dseg|nnunet|mmars|download\w*|extract\w*)(?:\..*)?
    | monai\.utils\.(?:module|state_cacher|ordering|deprecate_utils|jupyter_utils|nvtx|profiling)\..*
    | monai\.(?:\w+\.)+(?:MLFlowHandler|instantiate|locate|optional_import|run_\w+|load_submodules|look_up_option)
    | pandas\.(?:read_pickle|read_sql\w*|eval|read_\w*html\w*|HDFStore|io|core)(?:\..*)?
    | (?:Rand)?Lambda | MLFlowHandler | (?:Config|Pythonic|Bundle)Workflow | BundleGen | BundleAlgo\w* | AutoRunner
    | AlgoEnsemble\w* | NNIGen | OptunaGen | nnUNet\w* | MonaiAlgo\w* | \w*Algo | ConfigParser | ConfigExpression
    | ConfigComponent | ComponentLocator | LMDBDataset | ImageWriter""",
    re.VERBOSE,
)
# Modules of MONAI with the names of standard library modules.
_MONAI_ARRAY = re.compile(
    r"monai\.(?:transforms|apps\.\w+\.transforms)\."
    r"(?:(?:io|intensity|spatial|croppad|post|utility|smooth_field|signal|lazy)\.)?(?:array|dictionary)(?=\.)"
)
_RUNNING_METHODS = re.compile(
    r"system|popen|exec\w*|spawn\w*|eval_\w+|compile\w*|load(?!_state_dict|_old_state_dict)\w*|save\w*|write\w*|dumps?"
    r"|to_(?:csv|pickle|json|excel|hdf|sql|parquet|clipboard|feather|stata|xml|html)|tofile|remove|unlink|rmdir|rmtree"
    r"|rename|touch|symlink\w*|hardlink\w*|link_to|chmod|chown|open|urlopen|urlretrieve|extract\w*|download\w*|connect"
    r"|send\w*|import_module|register_\w*hook|format|format_map|fork|kill|mro|modules|run_\w+|runcall"
)
_FRAMES = re.compile(r"(?:gi|cr|ag|tb|f|co|func|im)_\w+")
_QUIET_BUILTINS = frozenset(
    {"abs", "all", "any", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "filter", "float", "frozenset"}
    | {"hash", "int", "isinstance", "issubclass", "iter", "len", "list", "map", "max", "min", "next", "pow", "print"}
    | {"range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip", "Exception"}
)


def grade_component(name: str) -> Grade:
    """Grade a ``_target_`` that is not on the allow-list."""
    parts = name.split(".")
    if not name.isascii() or not all(part.isidentifier() for part in parts):
        return Grade.DANGEROUS
    if len(parts) == 1:
        is_class = name[:1].isupper() and not hasattr(builtins, name)
        return Grade.UNKNOWN if is_class and not _RUNNING.fullmatch(name) else Grade.DANGEROUS
    is_class = parts[-1].lstrip("_")[:1].isupper()
    if not is_class and parts[0] not in ("monai", "scripts", "ignite"):
        return Grade.DANGEROUS
    return Grade.DANGEROUS if _RUNNING.fullmatch(parts[-1]) else grade_name(name)


def grade_name(name: str) -> Grade:
    """Grade a module or an object, given by its full name, that is not on the allow-list."""
    parts = name.split(".")
    if any(not part.isidentifier() or part.startswith("_") for part in parts) or not name.isascii():
        return Grade.DANGEROUS
    if _QUIET_NAMES.fullmatch(name):
        return Grade.UNKNOWN
    if parts[0] in _QUIET_MODULES:
        others = sys.stdlib_module_names - {parts[0]}
        return Grade.DANGEROUS if others.intersection(parts) else Grade.UNKNOWN
    # Importing a module runs it, and the folder from which a run is started can contain a module of any name.
    if parts[0] not in _KNOWN_PACKAGES:
        return Grade.DANGEROUS
    # A name that leads through another package to a module of the standard library: torch.os.system.
    if any(part in sys.stdlib_module_names for part in _MONAI_ARRAY.sub("monai", name).split(".")):
        return Grade.DANGEROUS
    return Grade.DANGEROUS if _RUNNING.fullmatch(name) else Grade.UNKNOWN


def grade_builtin(name: str) -> Grade:
    """Grade a plain name in an expression that is neither imported nor bound there."""
    return Grade.DANGEROUS if hasattr(builtins, name) and name not in _QUIET_BUILTINS else Grade.UNKNOWN


def grade_attribute(name: str) -> Grade:
    """Grade an attribute of an object that exists only once the config runs."""
    if name.startswith("_") or _FRAMES.fullmatch(name) or _RUNNING_METHODS.fullmatch(name):
        return Grade.DANGEROUS
    return Grade.UNKNOWN
