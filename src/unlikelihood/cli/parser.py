"""Reading arguments: help in plain words, and errors of one line that name what was typed and what there is."""

import ast
import inspect
import pydoc
import re
import sys
from argparse import SUPPRESS, Action, RawDescriptionHelpFormatter, _HelpAction
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter
from typing_extensions import override

from unlikelihood.parameters import in_words
from unlikelihood.storage.discovery import names, public_class

FEW = 12  # names of classes that help lists beside a parameter


class Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of examples as they are written, and says in words what a parameter takes."""

    @override
    def _get_help_string(self, action: Action) -> str:
        if action.dest.endswith(".help"):
            return "list what there is, or explain the one that is named"
        if isinstance(action, (ActionConfigFile, _HelpAction)):
            return super()._get_help_string(action)
        hint = getattr(action, "_typehint", None)
        known = kinds(hint)
        facts = ["required"] if action.required else []
        facts += [] if hint is None or len(known) > FEW else [taken(hint)]
        facts += [] if action.default in (None, SUPPRESS) or action.nargs == 0 else ["default: %(default)s"]
        return f"{action.help or ''} ({'; '.join(facts)})" if facts else action.help or ""

    @override
    def _expand_help(self, action: Action) -> str:
        said = super()._expand_help(action)
        return re.sub(r"(default: )(\{'class_path'.*\})\)$", lambda found: f"{found[1]}{call(found[2])})", said)

    @override
    def _format_action_invocation(self, action: Action) -> str:
        return super()._format_action_invocation(action).replace("CLASS_PATH_OR_NAME", "NAME")


class Parser(ArgumentParser):
    """A parser whose errors are one line, and whose help of a class is what its docstring says."""

    def __init__(self, *args: Any, description: str | None = None, formatter_class: Any = Help, **kwargs: Any) -> None:
        explains = re.fullmatch(r"Help for --[\w.]+=(unlikelihood[\w.]+)", description or "")
        explained: Any = pydoc.locate(explains[1]) if explains else None
        self.lists = inspect.isabstract(explained)
        if explained is not None:
            kwargs["usage"] = SUPPRESS
            description, kwargs["epilog"] = (listing(explained), None) if self.lists else prose(explained)
        super().__init__(*args, description=description, formatter_class=formatter_class, **kwargs)

    @override
    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        if self.lists:
            return []
        added = super().add_class_arguments(*args, **kwargs)
        self._action_groups[-1].title = "parameters"  # not the docstring's first line, again
        return added

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:  # the parser of a class, inside another, which will say it
            super().error(message, ex)
        for action in self._actions:
            if isinstance(action.choices, dict) and (command := re.search(r"required: (\w+)\.", message)):
                action.choices[command[1]].error(message, ex)
        print(f"unlikelihood: error: {in_one_line(self, message)}", file=sys.stderr)
        self.exit(2)


def value_of(given: Sequence[str], option: str) -> str | None:
    """Return what the command line says of an option, None if nothing."""
    after = (after for word, after in pairwise(given) if word == option)
    joined = (word.partition("=")[2] for word in given if word.startswith(f"{option}="))
    return next(after, None) or next(joined, None)


def as_typed(message: str, given: Sequence[str]) -> str:
    """Return an error with what it is about named as it was typed: ``latent is 0`` as ``--detector.latent is 0``."""
    for flag in (word.partition("=")[0] for word in given if word.startswith("--")):
        name = flag.lstrip("-").rpartition(".")[2]
        message = re.sub(rf"(^|: ){re.escape(name)}(?= is |=)", rf"\1{flag}", message, count=1)
        value = repr(value_of(given, flag))
        message = re.sub(rf"(--data\.)?\bpath={re.escape(value)}", lambda _: f"{flag}={value}", message, count=1)  # noqa: B023
    return message


def not_among(what: str, word: str, choices: Iterable[str]) -> str:
    """Return the error that a word is none of the choices, with the one that may be meant."""
    known = sorted(choices)
    return f"{what} {word}: {meant(word, known)}expected one of {', '.join(known)}"


def meant(word: str, choices: Iterable[str]) -> str:
    """Return the question whether the choice nearest to a misspelt word is meant; nothing if none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]}? " if near else ""


def kinds(hint: Any) -> list[str]:
    """Return the names of the public classes that a parameter of the type `hint` takes an object of."""
    cls = get_origin(hint) or hint
    if not inspect.isclass(cls) or not cls.__module__.startswith("unlikelihood."):
        return sorted({name for each in get_args(hint) for name in kinds(each)})
    below = {name for each in cls.__subclasses__() for name in kinds(each)}
    return sorted(below | ({cls.__name__} if cls.__name__ in names() and not inspect.isabstract(cls) else set()))


def taken(hint: Any) -> str:
    """Return what a parameter of the type `hint` takes on the command line, in words."""
    if known := kinds(hint):
        return f"one of {', '.join(known)}{' or null' * (type(None) in get_args(hint))}"
    words = in_words(hint).replace("None", "null")
    return f"{words}, written as [a, b]" if "a list" in words else words


def listing(base: type) -> str:
    """Return a line for each public class below `base`: its name, and the first sentence about it."""
    known = {name: (inspect.getdoc(public_class(name)) or "").partition("\n")[0] for name in kinds(base)}
    width = max(map(len, known), default=0)
    return "\n".join(f"{name:<{width}}  {line}" for name, line in known.items())


def prose(cls: type) -> tuple[str, str]:
    """Return what the docstring of a class says before its parameters, and its examples, as they are written."""
    head, *sections = re.split(r"^([A-Z]\w*)\n-{3,}\n", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    examples = dict(zip(sections[::2], sections[1::2], strict=True)).get("Examples", "")
    return f"{cls.__name__}: {head.strip()}", f"examples:\n{examples.strip()}" if examples else ""


def call(default: str) -> str:
    """Return a default that jsonargparse writes as a class path and arguments, as the call that makes it."""
    described = ast.literal_eval(default)
    cls = public_class(described["class_path"].rpartition(".")[2])
    usual = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    own = {name: value for name, value in described["init_args"].items() if value != usual[name]}
    return f"{cls.__name__}({', '.join(f'{name}={value}' for name, value in own.items())})" if own else cls.__name__


def in_one_line(parser: ArgumentParser, message: str) -> str:
    """Return what is wrong with the arguments of `parser`, from what argparse or jsonargparse says of them."""
    options = {name: action for action in parser._actions for name in action.option_strings}
    see = f"see {parser.prog.replace(' [options]', '')} --help"
    flag = "--" + ".".join(re.findall(r'[Pp]arser key "([\w.]+)"', message))
    classes = [public_class(name) for name in re.findall(r"class_path 'unlikelihood\.(\w+)'", message)]
    if found := re.search(r"argument (\w+): invalid choice: '(.*?)' \(choose from (.*)\)", message):
        return not_among(found[1].lower(), found[2], re.findall(r"[\w-]+", found[3]))
    if found := re.search(r"unrecognized arguments: (\S+)", message):
        word = found[1].partition("=")[0]
        return f"{word} is not known here: {meant(word, options)}{see}"
    if found := re.search(r"arguments are required: (.*)", message):
        needed = [key.rpartition(".")[2] for key in found[1].split(", ")]
        if classes:
            return f"{classes[-1].__name__} needs {' and '.join(f'{flag}.{key}' for key in needed)}"
        return f"expected {' and '.join(f'--{key}' if f'--{key}' in options else key.upper() for key in needed)}: {see}"
    if found := re.search(r"Option '(\w+)' is not accepted", message) or re.search(r"accept option '(\w+)'", message):
        of = f"{classes[-1].__name__} has no" if classes else "there is no"
        known = inspect.signature(classes[-1]).parameters if classes else [name.lstrip("-") for name in options]
        return f"{flag}.{found[1]}: ".replace("--.", "--") + not_among(of, found[1], known)
    if found := re.match(r"(--[\w.]+)\.help: .*?(\S+)$", " ".join(message.split())):
        flag = found[1]
    hints = get_type_hints(classes[-1], include_extras=True) if classes else {}
    if hint := hints.get(flag.rpartition(".")[2]) or getattr(options.get(flag), "_typehint", None):
        value = value_of(parser.args, flag) or value_of(parser.args, f"{flag}.help") or ""
        return f"{flag} {value}".rstrip() + f": {meant(value, kinds(hint))}expected {taken(hint)}"
    return " ".join(re.sub(r'^argument |^[Pp]arser key "(\w+)"', r"--\1", message).replace("----", "--").split())
