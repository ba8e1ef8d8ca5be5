"""The options of graphs-opt, in the sections that ``--help`` shows. Nothing but click is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from .emit import FORMATS
from .values import InputType

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["ALL_PASSES", "OPTIONAL_VALUES", "command"]

ALL_PASSES = "*"
OPTIONAL_VALUES = ("--print-ir-before", "--print-ir-after")
"""Options that are complete without a value; one that is given follows a ``=``."""

_SHELLS = ("bash", "zsh", "fish")
_HELP_WIDTH = 100
_HELP = "Say what each kernel of a neural network costs on a piece of hardware, and why."
_EPILOGUE = """\b
Examples:
  graphs-opt model.onnx
  graphs-opt --passes=fuse,lower,cost --target=jetson-orin-agx@30W --precision=fp16 model.onnx
  graphs-opt --explain=layer4.0.conv2 model.onnx
  graphs-opt my_models:small_net --input 1x3x224x224
  graphs-opt --dim batch=8 model.onnx -o report.json -o model.dot
  graphs-opt --passes='fuse{rules=none},lower,cost' --emit=text model.onnx

MODEL is an ONNX file, a saved PyTorch program (.pt2), a TFLite file or the tool's own text form (what --emit=text
writes), told apart by content; "-" reads text from standard input. PACKAGE.MODULE:FACTORY is a PyTorch module of your
own, imported from where you stand; give its inputs by --input.
"""


_DIGITS = 18
"""Digits that every extent of so many fits in 64 bits with."""


class _Dimension(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """``NAME=VALUE``, the value a whole number; zero is the length of a cache with nothing in it."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return the name and the number."""
        if isinstance(value, tuple):
            return value
        name, equals, number = str(value).rpartition("=")
        if not equals or not name or not number.isascii() or not number.isdigit() or len(number) > _DIGITS:
            self.fail(f"{str(value)[:80]!r}: expected a name and a whole number, such as batch=8", param, ctx)
        return name, int(number)


class _Option(click.Option):
    """An option that knows its section of the help."""

    def __init__(self, *names: str, section: str, **settings: Any) -> None:
        self.section = section
        super().__init__(list(names), **settings)


class _Command(click.Command):
    """A command whose help lists its options by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, in the order in which the sections come up."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", _OTHER), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from .completion import complete

    return complete(param.name or "", incomplete)


def _print_completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:
        from .completion import script

        click.echo(script(shell, ctx.command))
        ctx.exit()


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"graphs-opt {__version__}")
        ctx.exit()


def _run(**given: Any) -> int:
    """Check the options against each other and hand them to the driver."""
    from .options import options_from

    options = options_from(given)
    from . import driver

    return driver.run(options)


def _predict(*names: str, **settings: Any) -> _Option:
    return _Option(*names, section="What to predict", **settings)


def _show(*names: str, **settings: Any) -> _Option:
    return _Option(*names, section="What to show, and where", **settings)


def _look(*names: str, **settings: Any) -> _Option:
    return _Option(*names, section="Looking inside", **settings)


_OTHER = "Lists and help"


def _other(*names: str, **settings: Any) -> _Option:
    return _Option(*names, section=_OTHER, **settings)


# fmt: off
_PARAMETERS: list[click.Parameter] = [
    click.Argument(["models"], metavar="MODEL...", nargs=-1, type=click.Path()),
    _predict("--passes", "-p", default="default", show_default=True, metavar="PIPELINE", shell_complete=_complete,
             help="Passes to run: name{option=value},name,… A missing prerequisite is inserted."),
    _predict("--target", "-t", default="host", show_default=True, metavar="DEVICE[:RUNTIME][@MODE]",
             shell_complete=_complete, help="A device of --list-targets, or a YAML file."),
    _predict("--precision", metavar="TYPE", help="fp32, fp16, bf16, int8, …  [default: the model's own]"),
    _predict("--dim", "dims", type=_Dimension(), multiple=True, metavar="NAME=VALUE",
             help="Extent of a symbolic dimension; '*=1' for all that are not named. Repeatable."),
    _predict("--input", "inputs", type=InputType(), multiple=True, metavar="[NAME=][TYPE:]DIMS",
             help="Input of a module:factory, such as 1x3x224x224 or mask=bool:1x128. Repeatable."),
    _predict("--entry", metavar="NAME", help="Signature or subgraph of a file that has several.  [default: the first]"),
    _predict("--evidence", metavar="FILE", type=click.Path(),
             help="Measurements to predict from; 'none' for first principles.  [default: the best there are]"),
    _predict("--strict", is_flag=True, help="Refuse what would otherwise be a warning or unknown."),
    _predict("--load-plugin", multiple=True, type=click.Path(), metavar="FILE.py",
             help="Load passes and operators from a Python file. Repeatable."),
    _show("--emit", "formats", type=click.Choice(list(FORMATS)), multiple=True, metavar="|".join(FORMATS),
          help="Format.  [default: table]"),
    _show("--output", "-o", "paths", type=click.Path(), multiple=True, metavar="FILE",
          help="Write to a file, whose suffix says the format; '-' is standard output. Repeatable."),
    _show("--by", type=click.Choice(["kernel", "kind", "pattern", "module"]), default="kernel",
          metavar="kernel|kind|pattern|module", help="What a row stands for.  [default: kernel]"),
    _show("--order", type=click.Choice(["time", "graph"]), default="time", metavar="time|graph",
          help="Most expensive first, or as they run.  [default: time]"),
    _show("--top", type=click.IntRange(min=0), metavar="N", help="Rows to show.  [default: all above 1 %]"),
    _show("--measured", type=click.Path(), metavar="FILE",
          help="Compare with an onnxruntime profile of the model, or with samples of it."),
    _show("--explain", metavar="NODE", help="Show the formula and the constants behind one kernel instead."),
    _show("--wide", is_flag=True, help="Show every column, whatever the width."),
    _show("--width", type=click.IntRange(min=40), metavar="COLUMNS",
          help="Columns to fill.  [default: the terminal's, or 120]"),
    _show("--color", type=click.Choice(["auto", "always", "never"]), default="auto", metavar="auto|always|never",
          help="When to use colour; NO_COLOR is honoured.  [default: auto]"),
    _show("--quiet", "-q", is_flag=True, help="One line of totals, no warnings."),
    _show("--verbose", "-v", count=True, help="Say more on standard error."),
    _look("--print-ir-before", multiple=True, is_flag=False, flag_value=ALL_PASSES, metavar="[=PASS]",
          help="Print the graph before a pass, or before every pass."),
    _look("--print-ir-after", multiple=True, is_flag=False, flag_value=ALL_PASSES, metavar="[=PASS]",
          help="Print the graph after a pass, or after every pass."),
    _look("--print-ir-after-all", is_flag=True, help="Print the graph after every pass."),
    _look("--verify-each/--no-verify-each", default=True, help="Check the graph after every pass.  [default: do]"),
    _look("--timing", is_flag=True, help="Say how long each step took."),
    _look("--stats", is_flag=True, help="Say what each pass did."),
    _look("--dump-pipeline", is_flag=True, help="Print the pipeline that really runs."),
    _look("--split-input-file", is_flag=True, help="Treat a text file as several, cut at lines of '// -----'."),
    _look("--run-reproducer", type=click.Path(), metavar="FILE", help="Run what a failed pass left behind."),
    _other("--list-passes", "listing", flag_value="passes", help="List the passes and their options."),
    _other("--list-targets", "listing", flag_value="targets", help="List the devices, their runtimes and modes."),
    _other("--list-ops", "listing", flag_value="ops", help="List the operators known."),
    _other("--list-format", type=click.Choice(["table", "markdown", "json"]), default="table",
           help="How --list-ops is written."),
    _other("--completion", type=click.Choice(_SHELLS), callback=_print_completion, expose_value=False, is_eager=True,
           metavar="|".join(_SHELLS), help='For eval "$(graphs-opt --completion=bash)".'),
    _other("--version", is_flag=True, callback=_print_version, expose_value=False, is_eager=True,
           help="Show the version."),
]
# fmt: on

command = _Command(
    "graphs-opt",
    params=_PARAMETERS,
    callback=_run,
    help=_HELP,
    epilog=_EPILOGUE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_WIDTH},
)
