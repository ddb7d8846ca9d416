"""Registries: names for the factories of one kind of part."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from dal_toolbox.errors import UserError
from dal_toolbox.hyperparameters import check_hyperparameters, hyperparameters

T = TypeVar("T")
F = TypeVar("F", bound=Callable)


class UnknownName(UserError, KeyError):
    """A name that no part carries."""


class BrokenPlugin(UserError, ImportError):
    """An installed plugin that cannot be imported."""


class Registry(Mapping[str, Callable[..., T]], Generic[T]):
    """Names for the factories of one kind of part.

    A part is known because its file exists: the first look-up imports every module of ``package``.
    Parts of other distributions are found by their entry points and imported only when asked for,
    so that a broken one breaks nothing else.

    Args:
        kind: What the parts are, for error messages: ``"query strategy"``.
        package: Dotted name of the package whose modules register parts.
        entry_points: Entry-point group of plugins, ``name = "module:factory"``.

    >>> colors = Registry("color")
    >>> @colors.register("red")
    ... def red(alpha: float = 1.0) -> tuple[int, float]:
    ...     return 0xFF0000, alpha
    >>> colors.build("red", alpha=0.5)
    (16711680, 0.5)
    >>> colors.build("rd")
    Traceback (most recent call last):
    ...
    dal_toolbox.registry.UnknownName: no color 'rd'. Did you mean 'red'? Known: red
    """

    def __init__(
        self, kind: str, package: str | None = None, entry_points: str | None = None
    ) -> None:
        self.kind = kind
        self.package = package
        self.entry_points = entry_points
        self._factories: dict[str, Callable[..., T]] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[F], F]:
        """Decorator that gives a factory its name.

        Raises:
            ValueError: The name is taken by another factory.
        """

        def decorator(factory: F) -> F:
            taken = self._factories.setdefault(name, factory)
            if taken is not factory and _origin(taken) != _origin(factory):
                raise ValueError(
                    f"{self.kind} '{name}' of {_origin(factory)} is already registered "
                    f"by {_origin(taken)}; choose another name"
                )
            self._factories[name] = factory  # the same definition again: its module was reloaded
            return factory

        return decorator

    def build(self, name: str, /, **kwargs: object) -> T:
        """Calls the factory ``name``.

        Raises:
            UnknownName: No part has this name; the message suggests the nearest ones.
            BrokenPlugin: The plugin behind the name cannot be imported.
            ValueError: The factory has no such parameter, or a hyperparameter has the wrong type.
        """
        factory = self[name]
        self.check(name, kwargs)
        return factory(**kwargs)

    def __getitem__(self, name: str) -> Callable[..., T]:
        self._discover()
        if name in self._factories:
            return self._factories[name]
        if name in (self._plugins or {}):
            return self._load(name)
        raise UnknownName(self._unknown(name))

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted({*self._factories, *(self._plugins or {})}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self)})"

    def _discover(self) -> None:
        if self._plugins is not None:
            return
        if self.package is not None:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self.package}.{module.name}")
        found = entry_points(group=self.entry_points) if self.entry_points else ()
        self._plugins = {point.name: point for point in found}

    def check(self, name: str, options: Mapping[str, object]) -> None:
        """Raises an error if the factory ``name`` has no such parameters, or they have other types.

        Raises:
            ValueError: ``k=many: must be an integer``.
        """
        factory = self[name]
        parameters = inspect.signature(factory).parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        unknown = sorted(set(options) - set(parameters))
        if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise ValueError(
                f"{unknown[0]}={options[unknown[0]]!r}: {self.kind} '{name}' has no parameter "
                f"'{unknown[0]}'. Known: {', '.join(hyperparameters(factory)) or 'none'}"
            )
        check_hyperparameters(factory, options)

    def _load(self, name: str) -> Callable[..., T]:
        assert self._plugins is not None
        point = self._plugins[name]
        try:
            return self.register(name)(point.load())
        except Exception as error:
            raise BrokenPlugin(
                f"the plugin for {self.kind} '{name}' ({point.value}) cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _unknown(self, name: str) -> str:
        known = {key.lower(): key for key in self}
        near = get_close_matches(str(name).lower(), known, n=1)
        hint = f" Did you mean '{known[near[0]]}'?" if near else ""
        return f"no {self.kind} '{name}'.{hint} Known: {', '.join(self)}"


def _origin(factory: Callable) -> str:
    return f"{factory.__module__}.{factory.__qualname__}"
