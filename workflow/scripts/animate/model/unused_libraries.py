"""What diffusers and transformers import beside the few modules that are used, left out.

It costs half of the seconds that a sampler needs to start.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# They are imported where a user has them, though nothing here uses them.
UNUSED = ("peft", "scipy", "sklearn")
# Packages that import all their modules, of which a sampler uses a few.
PACKAGES = (
    "diffusers.hooks",
    "diffusers.models.autoencoders",
    "diffusers.models.transformers",
    "diffusers.models.unets",
)
USED = ("AutoencoderKLWan", "WanAnimateTransformer3DModel", "WanAnimate2Transformer3DModel")
FLEX_ATTENTION = "torch.nn.attention.flex_attention"
# What diffusers' own forward of Wan-Animate-2 imports of it, which nobody calls here.
FLEX_NAMES = ("BlockMask", "create_block_mask")


def spare_imports(*more: str) -> None:
    """Have diffusers and transformers find none of them; call it before either is imported."""
    for name in (*UNUSED, *more):
        # Python's own way to say that a module cannot be imported.
        sys.modules.setdefault(name, None)


def import_sampler_models() -> None:
    """Import diffusers' classes that a sampler uses, without the others and PyTorch's compiler.

    Anything else of diffusers is still imported when it is asked for. Where a version of diffusers
    cannot be imported like this, it is left to be imported as usual.
    """
    if "diffusers" in sys.modules:
        return
    try:
        with _without_compiler():
            for name in PACKAGES:
                _import_on_demand(name)
            import diffusers

            for name in USED:
                getattr(diffusers, name)
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] == "diffusers"]:
            del sys.modules[name]


def _import_on_demand(name: str) -> None:
    """Make a package known whose own code runs when something is asked of it, no submodule."""
    spec = find_spec(name)
    package = module_from_spec(spec)

    def complete(attribute: str) -> Any:
        # Python itself asks for these of any module.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        vars(package).pop("__getattr__", None)
        spec.loader.exec_module(package)
        return getattr(package, attribute)

    package.__getattr__ = complete
    sys.modules[name] = package


@contextmanager
def _without_compiler() -> Iterator[None]:
    """Keep diffusers from importing the compiler to mark functions for it that are not used here.

    Who compiles imports it afterwards.
    """
    import torch

    disable = torch.compiler.disable
    absent = [name for name in ("torch._dynamo", FLEX_ATTENTION) if name not in sys.modules]
    if "torch._dynamo" in absent:
        sys.modules["torch._dynamo"] = None
        torch.compiler.disable = lambda fn=None, **options: fn or (lambda function: function)
    if FLEX_ATTENTION in absent:
        # Imported by name only, so an empty one does.
        flex_attention = sys.modules[FLEX_ATTENTION] = ModuleType(FLEX_ATTENTION)
        vars(flex_attention).update({name: type(name, (), {}) for name in FLEX_NAMES})
    try:
        yield
    finally:
        torch.compiler.disable = disable
        for name in absent:
            with suppress(KeyError):
                del sys.modules[name]
