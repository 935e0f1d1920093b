"""Turns a function of dataclasses into a function of their fields, so that options and parameters are declared once.

Typer derives options from a function's signature. `flatten` gives a function that takes a
`RunSpec` the signature of `RunSpec`'s fields; a call builds the object, which validates itself, and passes it on. Typer still handles
names, help, completion and error messages.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_args, get_origin

FIXED = object()  # in Annotated: a field that keeps its default and does not become a parameter
EMPTY = Parameter.empty


class MadeBy:
    """In Annotated: a parameter or field whose value a factory builds from parameters of its own.

    Args:
        factory: A dataclass or a function; its fields or parameters replace the annotated one.
        changes: Annotations by name that replace those of the factory. None omits a parameter, which keeps its default; if one
            without a default is omitted, the value is a partial of the factory, to be called with the omitted arguments.
    """

    def __init__(self, factory: Callable[..., Any], **changes: Any) -> None:  # noqa: ANN401 - any annotation
        self.factory, self.changes = factory, changes


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a factory; its arguments are parameters or results of other calls."""

    factory: Callable[..., Any]
    arguments: "Mapping[str, Parameter | _Call]"
    is_partial: bool

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters, including those of nested calls, in the order of their declaration."""
        for argument in self.arguments.values():
            if isinstance(argument, _Call):
                yield from argument.parameters()
            else:
                yield argument

    def run(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any factory's result
        arguments = {
            name: argument.run(values) if isinstance(argument, _Call) else values[name]
            for name, argument in self.arguments.items()
        }
        return functools.partial(self.factory, **arguments) if self.is_partial else self.factory(**arguments)


def flatten(function: Callable[..., None]) -> Callable[..., None]:
    """Return a function with a parameter for each field of the dataclasses that a function takes.

    Args:
        function: The function; parameters annotated with a dataclass or with `MadeBy` are replaced by their fields or parameters.

    Returns:
        A function with the flat signature, in which parameters without a default come first, and with the same name and docstring.
    """
    call, parameters = _call_of(function, {}), dict[str, Parameter]()
    for parameter in call.parameters():
        is_same = parameters.setdefault(parameter.name, parameter) == parameter
        assert is_same, f"{function.__name__}: {parameter.name} is declared twice, differently"
    flat = Signature(sorted(parameters.values(), key=lambda parameter: parameter.default is not EMPTY))

    def flattened(*values: Any, **named: Any) -> None:  # noqa: ANN401 - arguments of any type
        bound = flat.bind(*values, **named)
        bound.apply_defaults()
        call.run(bound.arguments)

    flattened.__name__, flattened.__qualname__, flattened.__module__ = (
        function.__name__,
        function.__qualname__,
        function.__module__,
    )
    flattened.__doc__, flattened.__annotations__ = function.__doc__, {}
    # What inspect.signature returns: https://docs.python.org/3/library/inspect.html#inspect.signature
    flattened.__signature__ = flat  # type: ignore[attr-defined] # mypy does not know the attribute
    return flattened


def _call_of(factory: Callable[..., Any], changes: Mapping[str, Any]) -> _Call:
    arguments: dict[str, Parameter | _Call] = {}
    is_partial, all_declared = False, _declared(factory)
    assert set(changes) <= set(all_declared), f"{factory} has no {', '.join(set(changes) - set(all_declared))}"
    for name, declared in all_declared.items():
        annotation = changes.get(name, declared.annotation if isinstance(declared, Parameter) else declared.type)
        if annotation is None:
            is_partial = is_partial or _default(declared) is EMPTY
        elif made_by := _made_by(annotation):
            arguments[name] = _call_of(made_by.factory, made_by.changes)
        elif FIXED not in get_args(annotation):
            arguments[name] = Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation, default=_default(declared))
    return _Call(factory, arguments, is_partial)


def _declared(factory: Callable[..., Any]) -> "Mapping[str, Parameter | Field[Any]]":
    return {field.name: field for field in fields(factory)} if is_dataclass(factory) else signature(factory).parameters


def _default(declared: "Parameter | Field[Any]") -> Any:  # noqa: ANN401 - a default of any type
    """Return the default. A default factory runs only when its value is needed, because a recipe's imports PyYAML."""
    if isinstance(declared, Parameter):
        return declared.default
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    return EMPTY if declared.default is MISSING else declared.default


def _made_by(annotation: Any) -> MadeBy | None:  # noqa: ANN401 - any annotation
    if isinstance(annotation, MadeBy):
        return annotation
    if isinstance(annotation, type) and is_dataclass(annotation):
        return MadeBy(annotation)
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, MadeBy)), None)
