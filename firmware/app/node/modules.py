"""Release of modules that are rarely needed: their code is freed, and loaded again at the next import."""

import sys


def release_modules(*names):
    """Unload modules, for example "umqtt5.dns". A module that is not loaded is ignored.

    Objects of the module that are still in use keep what they need.
    """
    for name in names:
        package, _, module = name.rpartition(".")
        # `hasattr` of the package `umqtt5` would load a module that is not loaded
        if sys.modules.pop(name, None) and package in sys.modules and hasattr(sys.modules[package], module):
            delattr(sys.modules[package], module)


def release_reason_codes():
    """Unload the texts of errors, which take several KB of heap and are rarely needed."""
    release_modules("umqtt5.reason_codes", "umqtt5.optional.error_texts", "umqtt5.optional.protocol_error")


def release_constructors(package):
    """Free the functions that create the objects of a package, and the constructors of its classes."""
    for name in sys.modules:
        if name.startswith(package):
            module = sys.modules[name]
            for function in ("make", "make_output", "load_module"):
                if hasattr(module, function):
                    delattr(module, function)
            for key in dir(module):
                value = getattr(module, key)
                if isinstance(value, type) and hasattr(value, "__init__"):
                    value.__init__ = None  # type: ignore[misc]
