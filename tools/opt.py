"""``graphs-opt``: runs a pipeline of passes over models and says what each kernel costs on a target.

Only click is imported here, so that ``--help`` and completion are quick; the rest is, once there is something to do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from .emit import FORMATS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["command", "main"]

ALL_PASSES = "*"
SHELLS = ("bash", "zsh", "fish")
_EPILOGUE = """\b
Examples:
  graphs-opt model.onnx
  graphs-opt --passes=fuse,lower,cost --target=jetson-orin-agx@30W --precision=fp16 model.onnx
  graphs-opt --explain=layer4.0.conv2 model.onnx
  graphs-opt --dim batch=8 model.onnx -o report.json -o model.dot
  graphs-opt --passes='fuse{rules=none},lower,cost' --emit=text model.onnx

MODEL is an ONNX file or the tool's own text form (what --emit=text writes), told apart by content; "-" reads text from
standard input.
"""


class Dimension(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """``NAME=VALUE``, the value a whole number above zero."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Return the name and the number."""
        if isinstance(value, tuple):
            return value
        name, equals, number = str(value).rpartition("=")
        if not equals or not name or not number.isascii() or not number.isdigit() or int(number) == 0:
            self.fail(f"{value!r}: expected a name and a whole number above zero, such as batch=8", param, ctx)
        return name, int(number)


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from .completion import complete

    return complete(param.name or "", incomplete)


def _completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:
        from .completion import script

        click.echo(script(shell, ctx.command))
        ctx.exit()


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOGUE,
    help="Say what each kernel of a neural network costs on a piece of hardware, and why.",
)
@click.argument("models", metavar="MODEL...", nargs=-1, type=click.Path())
@click.option(
    "--passes",
    "-p",
    default="default",
    show_default=True,
    metavar="PIPELINE",
    shell_complete=_complete,
    help="What to run: name{option=value},name,… A missing prerequisite is inserted.",
)
@click.option(
    "--target",
    "-t",
    default="host",
    show_default=True,
    metavar="DEVICE[:RUNTIME][@MODE]",
    shell_complete=_complete,
    help="What to predict for: a name of --list-targets, or a YAML file.",
)
@click.option("--precision", metavar="TYPE", help="Arithmetic and storage: fp32, fp16, bf16, int8, … [model's own]")
@click.option(
    "--dim",
    "dims",
    type=Dimension(),
    multiple=True,
    metavar="NAME=VALUE",
    help="Extent of a symbolic dimension; '*=1' for all that are not named. Repeatable.",
)
@click.option("--strict", is_flag=True, help="Refuse what would otherwise be a warning or unknown.")
@click.option("--emit", "formats", type=click.Choice(list(FORMATS)), multiple=True, help="Format. [table]")
@click.option(
    "--output",
    "-o",
    "paths",
    type=click.Path(),
    multiple=True,
    metavar="FILE",
    help="Write to a file, whose suffix says the format. Repeatable; '-' is standard output.",
)
@click.option("--explain", metavar="NODE", help="Show the formula and the constants behind one kernel.")
@click.option("--order", type=click.Choice(["time", "graph"]), default="time", show_default=True, help="Order of rows.")
@click.option("--top", type=click.IntRange(min=0), metavar="N", help="Rows to show. [all above 1 %]")
@click.option(
    "--by",
    type=click.Choice(["kernel", "kind", "pattern", "module"]),
    default="kernel",
    show_default=True,
    help="What a row is.",
)
@click.option("--wide", is_flag=True, help="Show every column, whatever the width.")
@click.option(
    "--width", type=click.IntRange(min=40), metavar="COLUMNS", help="Columns to fill. [the terminal's, or 120]"
)
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="When to use colour; NO_COLOR is honoured.",
)
@click.option("--verbose", "-v", count=True, help="Say more on standard error.")
@click.option("--quiet", "-q", is_flag=True, help="One line of totals, no warnings.")
@click.option(
    "--print-ir-before",
    multiple=True,
    is_flag=False,
    flag_value=ALL_PASSES,
    metavar="[=PASS]",
    help="Print the graph before a pass, or before all.",
)
@click.option(
    "--print-ir-after",
    multiple=True,
    is_flag=False,
    flag_value=ALL_PASSES,
    metavar="[=PASS]",
    help="Print the graph after a pass, or after all.",
)
@click.option("--print-ir-after-all", is_flag=True, help="Print the graph after every pass.")
@click.option(
    "--verify-each/--no-verify-each", default=True, show_default=True, help="Check the graph after every pass."
)
@click.option("--timing", is_flag=True, help="Say how long each step took.")
@click.option("--stats", is_flag=True, help="Say what each pass did.")
@click.option("--dump-pipeline", is_flag=True, help="Print the pipeline that really runs.")
@click.option(
    "--load-plugin",
    multiple=True,
    type=click.Path(),
    metavar="FILE.py",
    help="Load passes and operators from a Python file. Repeatable.",
)
@click.option("--split-input-file", is_flag=True, help="Treat a text file as several, cut at lines of '// -----'.")
@click.option("--run-reproducer", type=click.Path(), metavar="FILE", help="Run what a failed pass left behind.")
@click.option("--list-passes", "listing", flag_value="passes", help="List the passes and their options.")
@click.option("--list-targets", "listing", flag_value="targets", help="List the devices, their runtimes and modes.")
@click.option("--list-ops", "listing", flag_value="ops", help="List the operators known.")
@click.option(
    "--completion",
    type=click.Choice(SHELLS),
    callback=_completion,
    expose_value=False,
    is_eager=True,
    help='Print a completion script, for eval "$(graphs-opt --completion=bash)".',
)
@click.version_option(__version__, prog_name="graphs-opt", message="%(prog)s %(version)s")
def command(**given: Any) -> int:
    """Check the options against each other and hand them to the driver."""
    from .options import options_from

    options = options_from(given)
    from .driver import run

    return run(options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 bad input or a failure, 2 wrong usage, 130 interrupted."""
    sys.exit(_guarded(arguments))


def _guarded(arguments: Sequence[str] | None) -> int:
    """Run the command; whatever happens, the user is shown a message and never a traceback."""
    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there sees to signals
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        words = _with_values(sys.argv[1:] if arguments is None else arguments)
        code = command.main(args=words, prog_name="graphs-opt", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _say(_decapitalised(error.format_message()), help="graphs-opt --help lists the options")
        return 2
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("GRAPHS_DEBUG"):
            raise
        return _unexpected(error)
    return int(code or 0)


def _with_values(arguments: Sequence[str]) -> list[str]:
    """Options whose value may be left out take the next word for it in click: here only what follows a ``=``."""
    return [f"{word}={ALL_PASSES}" if word in ("--print-ir-before", "--print-ir-after") else word for word in arguments]


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"{error.filename}: {error.strerror}")
    elif isinstance(error, MemoryError):
        _say("out of memory")
    else:
        _say(f"{type(error).__name__}: {error}", help="this is a defect of graphs-opt; GRAPHS_DEBUG=1 shows where")
    return 1


def _say(message: str, help: str = "") -> None:
    from .terminal import Messages, takes_color

    Messages(color=takes_color(sys.stderr, "auto")).error(message, help)


def _decapitalised(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


if __name__ == "__main__":
    main()
