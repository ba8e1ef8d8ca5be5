"""Pipelines as text, and options by type hint: both print what they parse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.ir import Graph
from graphs.passes.base import Context, Pass
from graphs.passes.options import call_of, instantiate, options_of
from graphs.passes.pipeline import PassCall, Pipeline, PipelineError, parse_pipeline


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Everything(Pass):
    """One option of every type. The second sentence is no headline."""

    name = "everything"
    flag: bool = False
    number: int = 3
    ratio: float = 0.5
    text: str = "target"
    words: tuple[str, ...] = ()
    numbers: tuple[int, ...] = (1, 2)
    mode: Literal["fast", "slow"] = "fast"
    color: Color = Color.RED
    limit: int | None = 7

    def run(self, graph: Graph, context: Context) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Needed(Pass):
    """Option without a default."""

    name = "needed"
    path: str

    def run(self, graph: Graph, context: Context) -> None:
        """Do nothing."""


# -- pipeline text -----------------------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]*", fullmatch=True)
words = st.lists(st.text(), max_size=3).map(tuple)
calls = st.builds(
    PassCall, names, st.dictionaries(names, words, max_size=4).map(lambda options: tuple(options.items()))
)


@given(st.lists(calls, max_size=4).map(lambda found: Pipeline(tuple(found))))
def test_a_pipeline_parses_back_from_what_it_prints(pipeline: Pipeline) -> None:
    assert parse_pipeline(str(pipeline)) == pipeline


@given(st.text(alphabet='ab{}=," \\\n', max_size=12))
def test_any_text_is_a_pipeline_or_a_clear_error(text: str) -> None:
    try:
        pipeline = parse_pipeline(text)
    except PipelineError as error:
        assert "column" in str(error) and error.help
    else:
        assert parse_pipeline(str(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("", ""),
        ("fuse", "fuse"),
        (" fuse , lower ", "fuse,lower"),
        ("fuse{}", "fuse"),
        ("fuse{ rules=none }", "fuse{rules=none}"),
        ("a{x=1   y=2},b", "a{x=1 y=2},b"),
        ("a{flag}", "a{flag=true}"),
        ("a{list=x,y,z}", "a{list=x,y,z}"),
        ('a{text="with space, and comma"}', 'a{text="with space, and comma"}'),
        ('a{text="a\\"b\\\\"}', 'a{text="a\\"b\\\\"}'),
        ("a{empty= other=1}", "a{empty= other=1}"),
        ('a{empty=""}', 'a{empty=""}'),
    ],
)
def test_spelling(text: str, printed: str) -> None:
    assert str(parse_pipeline(text)) == printed


@pytest.mark.parametrize(
    ("text", "column"),
    [("fuse,", 6), (",fuse", 1), ("fuse{", 6), ("fuse}", 5), ("fuse lower", 6), ("fuse{=x}", 6), ('a{x="y}', 5),
     ("a{x=1 x=2}", 8), ("a{x=1,}", 7)],
)  # fmt: skip
def test_errors_point_at_the_character(text: str, column: int) -> None:
    with pytest.raises(PipelineError, match=f"column {column}:"):
        parse_pipeline(text)


# -- options -----------------------------------------------------------------------------------------------------------

everything = st.builds(
    Everything, st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.text()).map(tuple),
    st.lists(st.integers()).map(tuple), st.sampled_from(["fast", "slow"]), st.sampled_from(Color),
    st.none() | st.integers(),
)  # fmt: skip


@given(everything)
def test_a_pass_with_its_options_parses_back_from_what_it_prints(step: Everything) -> None:
    (call,) = parse_pipeline(str(call_of(step))).calls
    assert instantiate(Everything, call) == step


def test_options_at_their_default_are_not_printed() -> None:
    assert str(call_of(Everything())) == "everything"
    assert str(call_of(Everything(number=4))) == "everything{number=4}"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("flag=maybe", "expected true or false"),
        ("number=1.5", "expected a whole number"),
        ("ratio=fast", "expected a number"),
        ("text=a,b", "takes one value, 2 were given"),
        ("text=", "takes one value, none was given"),
        ("mode=fats", 'did you mean "fast"'),
        ("color=green", "expected one of red, blue"),
        ("numbr=1", 'no option "numbr"; did you mean "number"?'),
    ],
)
def test_a_wrong_option_says_what_was_expected(option: str, message: str) -> None:
    (call,) = parse_pipeline(f"everything{{{option}}}").calls
    with pytest.raises(PipelineError, match=message.replace("?", r"\?")):
        instantiate(Everything, call)


def test_an_option_without_default_must_be_given() -> None:
    with pytest.raises(PipelineError, match='needs its option "path"'):
        instantiate(Needed, PassCall("needed"))
    assert instantiate(Needed, PassCall("needed", (("path", ("x",)),))) == Needed("x")


def test_options_are_described_for_the_listing() -> None:
    described = {option.name: (option.type, option.default) for option in options_of(Everything)}
    assert described["numbers"] == ("list of a whole number", "1,2")
    assert described["mode"] == ("fast|slow", "fast")
    assert described["limit"] == ("a whole number", "7")
