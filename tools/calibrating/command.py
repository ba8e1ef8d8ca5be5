"""The commands of graphs-calibrate and their options. Nothing but click is imported here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from ... import __version__
from ..values import InputType
from .values import Duration, Share

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["FORMATS", "METHODS", "PRECISIONS", "RUNTIMES", "command"]

RUNTIMES = ("onnxruntime", "pytorch")
PRECISIONS = ("fp64", "fp32", "fp16", "bf16", "int8")
METHODS = ("held-out", "leave-one-model-out")
FORMATS = ("auto", "microbenchmarks", "subgraphs", "profile", "latencies", "evidence")

_SHELLS = ("bash", "zsh", "fish")
_HELP_WIDTH = 100
_EPILOGUE = """\b
Examples:
  graphs-calibrate measure --target=host --budget=10m -o host.samples.jsonl
  graphs-calibrate fit host.samples.jsonl
  graphs-opt --passes=fuse,lower,cost,coverage model.onnx
  graphs-calibrate validate --models=models/ --runs=20 --fail-above=10%
"""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from .completion import complete

    return complete(param.name or "", incomplete)


def _print_completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell and not ctx.resilient_parsing:
        from ..completion import script

        click.echo(script(shell, ctx.command))
        ctx.exit()


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"graphs-calibrate {__version__}")
        ctx.exit()


def _run(module: str) -> Callable[..., int]:
    """Hand a command's options to the module of its name, which is imported only then."""

    def run(**given: Any) -> int:
        from .console import run_guarded

        return run_guarded(lambda: import_module(f".{module}", __package__), given)

    return run


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(list(names), **settings)


def _target(default: str | None = "host") -> click.Option:
    return _option("--target", "-t", default=default, show_default=default is not None, shell_complete=_complete,
                   metavar="DEVICE[:RUNTIME][@MODE]", help="What the evidence is of.")  # fmt: skip


def _runtime() -> click.Option:
    return _option("--runtime", type=click.Choice(RUNTIMES), metavar="|".join(RUNTIMES),
                   help="Software that runs the kernels.  [default: the target's]")  # fmt: skip


def _precision(default: str | None = "fp32") -> click.Option:
    return _option("--precision", type=click.Choice(PRECISIONS), default=default, show_default=default is not None,
                   metavar="TYPE", help=", ".join(PRECISIONS) + ".")  # fmt: skip


def _models(help: str) -> click.Option:
    return _option("--models", "-m", multiple=True, type=click.Path(), metavar="PATH", help=help)


def _inputs() -> click.Option:
    return _option("--input", "inputs", multiple=True, type=InputType(), metavar="[NAME=][TYPE:]DIMS",
                   help="What package.module:factory's module is called with: 1x3x224x224, i64:1x128, "
                        "mask=bool:1x128. Repeatable.")  # fmt: skip


def _common() -> list[click.Parameter]:
    return [
        _option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", metavar="auto|always|never",
                help="When to use colour; NO_COLOR is honoured.  [default: auto]"),
        _option("--quiet", "-q", is_flag=True, help="Say nothing but what was asked for, and errors."),
        _option("--verbose", "-v", is_flag=True, help="Say more on standard error."),
    ]  # fmt: skip


def _command(name: str, module: str, help: str, parameters: list[click.Parameter]) -> click.Command:
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": _HELP_WIDTH}
    return click.Command(name, params=[*parameters, *_common()], callback=_run(module), help=help,
                         context_settings=settings)  # fmt: skip


# fmt: off
_MEASURE = _command("measure", "measuring", "Time kernels on this machine and append them to a file of samples.\n\n"
    "Interrupted or killed, the same command goes on from where it was.", [
    _target(), _runtime(), _precision(),
    _option("--budget", type=Duration(), metavar="TIME", help="How long to measure.  [default: 15m; with --quick 2m]"),
    _option("--quick", is_flag=True, help="The smaller set of benchmarks, for usable evidence in two minutes."),
    _models("Models, or folders of them, whose kernels are to be measured too and whose predictions say what is "
            "worth measuring: files, or package.module:factory under PyTorch. Repeatable."),
    _inputs(),
    _option("--only", multiple=True, shell_complete=_complete, metavar="TYPE",
            help="Measure what tells of this operation type (softmax, conv2d_depthwise, …). Repeatable."),
    _option("--model-runs", is_flag=True, help="Time the models of --models as a whole, too."),
    _option("--output", "-o", type=click.Path(), metavar="FILE",
            help="File of samples to append to.  [default: DEVICE.samples.jsonl]"),
])

_FIT = _command("fit", "fitting", "Fit evidence to samples; it is what graphs-opt uses from then on.", [
    click.Argument(["samples"], nargs=-1, required=True, metavar="SAMPLES...", type=click.Path()),
    _option("--output", "-o", type=click.Path(), metavar="FILE",
            help="Write the evidence there instead of installing it.  [default: the user's evidence]"),
    _option("--holdout", multiple=True, metavar="MODEL",
            help="Leave a model's samples out, and say how well it is predicted. Repeatable."),
])

_VALIDATE = _command("validate", "validating", "Compare predictions with measurements, and say how good they are.\n\n"
    "Models are measured end to end and predicted from their files alone by the evidence that there is. Samples of "
    "networks are predicted by what is fitted on the other networks' samples.", [
    click.Argument(["paths"], nargs=-1, metavar="[MODEL...]", type=click.Path()),
    _target(None), _runtime(), _precision(None),
    _models("Models, or folders of them, to measure: files, or package.module:factory under PyTorch. Repeatable."),
    _inputs(),
    _option("--runs", type=click.IntRange(min=3), default=20, show_default=True, metavar="N",
            help="Runs of each model."),
    _option("--samples", type=click.Path(), metavar="FILE", help="Hold out networks of a file of samples instead."),
    _option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True, metavar="|".join(METHODS),
            help="How to hold them out."),
    _option("--splits", type=click.IntRange(min=1), default=5, show_default=True, metavar="N",
            help="Random splits of held-out; each fits on 60 % of the networks."),
    _option("--fail-above", type=Share(), metavar="SHARE", help="Exit with 1 if the mean absolute error is above it."),
    _option("--json", "json_path", type=click.Path(), metavar="FILE", help="Write all figures as JSON, too."),
    _option("--history", is_flag=True, help="Show how accuracy went over time instead."),
])

_IMPORT = _command("import", "importing", "Take over what others measured: as evidence, or as samples with -o.", [
    click.Argument(["files"], nargs=-1, required=True, metavar="FILE...", type=click.Path()),
    _target(None), _precision(None),
    _option("--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True,
            metavar="|".join(FORMATS), help="What the files are; auto looks inside."),
    _models("Model files that latencies or an onnxruntime profile are of. Repeatable."),
    _option("--campaign", "campaigns", multiple=True, metavar="NAME",
            help="Of a table of subgraphs, the name of the hardware in it; may hold wildcards. Repeatable."),
    _option("--source", "sources", nargs=3, multiple=True, metavar="TITLE URL LICENCE",
            help="Where the measurements come from, to be kept with them. Repeatable."),
    _option("--output", "-o", type=click.Path(), metavar="FILE", help="Write it there instead of installing it."),
])

_AUDIT = _command("audit", "auditing", "Say what evidence there is and what is wrong with it.\n\n"
    "A file named is checked strictly; exit code 1 tells of a problem.", [
    click.Argument(["subject"], required=False, metavar="[FILE|TARGET]", type=click.Path()),
])

_PLOT = _command("plot", "plotting", "Draw efficiency over FLOPs with points, intervals and fitted curves; of a "
    "validation's JSON, predicted against measured time.", [
    click.Argument(["file"], metavar="FILE", type=click.Path()),
    _option("--only", multiple=True, metavar="TYPE", help="Draw only this operation type. Repeatable."),
    _option("--output", "-o", type=click.Path(), metavar="FILE",
            help="A .png, .svg or .pdf (with matplotlib) or a .txt.  [default: the terminal]"),
])

_HISTORY = _command("history", "remembering", "Say how accuracy went over time.", [
    click.Argument(["target"], required=False, metavar="[TARGET]"),
])

command = click.Group(
    "graphs-calibrate",
    commands={made.name: made for made in (_MEASURE, _FIT, _VALIDATE, _IMPORT, _AUDIT, _PLOT, _HISTORY) if made.name},
    params=[
        _option("--completion", type=click.Choice(_SHELLS), callback=_print_completion, expose_value=False,
                is_eager=True, metavar="|".join(_SHELLS), help='For eval "$(graphs-calibrate --completion=bash)".'),
        _option("--version", is_flag=True, callback=_print_version, expose_value=False, is_eager=True,
                help="Show the version."),
    ],
    help="Measure what kernels take on a machine, and make evidence of it that predictions stand on.",
    epilog=_EPILOGUE,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_WIDTH},
)
# fmt: on
