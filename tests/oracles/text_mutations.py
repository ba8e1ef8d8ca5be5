"""Damage to the text form: tokens, lines and brackets that are not what they were."""

from __future__ import annotations

import random
import re

__all__ = ["misspelt"]

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|%[A-Za-z0-9_$.-]+|-?[0-9]+(?:\.[0-9eE+-]*)?|[A-Za-z_.]+|\s+|.', re.DOTALL)
_NUMBERS = (
    "0", "1", "-1", "2", "7", "4097", "2147483648", "9223372036854775807", "-9223372036854775808",
    "18446744073709551616", "9" * 300, "9" * 5000, "1.0e308", "1.0e999", "-0.0", "0x7FC00000 : f32",
)  # fmt: skip
_PIECES = (
    '"\\1B[31m"', '"\\0A"', '"../../etc/passwd"', '""', "[", "]", "{", "}", "<", ">", "(", ")", "loc", "dense<", "?x",
    "tensor<?x?x*xf32>", "tensor<*xf32>", "!graphs.any", "!graphs.seq<tensor<f32>>", "true", "\x1b[2J", "\ud800",
    "graphs.cost = {}", 'graphs.work = {tag = "gemm"}', "captures = 99", "captures = -1",
    "value = dense<> : tensor<f32>", "[" * 200, "{a = " * 200, "!graphs.seq<" * 200, "// ",
    '"graphs.kernel"', '"onnx.If"', '"graphs.input"', "\0",
)  # fmt: skip


def misspelt(text: str, seed: int) -> str:
    """The text with one to three tokens or lines dropped, repeated, swapped or replaced."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 4)):
        text = _by_line(text, chance) if chance.random() < 0.3 else _by_token(text, chance)
    return text


def _by_line(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(4):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = [lines[other]]
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            del lines[at:]
    return "\n".join(lines)


def _by_token(text: str, chance: random.Random) -> str:
    tokens = _TOKEN.findall(text)
    if not tokens:
        return text
    at, other = chance.randrange(len(tokens)), chance.randrange(len(tokens))
    numbers = [index for index, token in enumerate(tokens) if token.lstrip("-")[:1].isdigit()]
    match chance.randrange(6):
        case 0:
            tokens[at] = ""
        case 1:
            tokens[at] = tokens[other]
        case 2:
            tokens[at] = chance.choice(_PIECES)
        case 3:
            tokens[at:at] = [chance.choice(_PIECES)]
        case _ if numbers:
            tokens[chance.choice(numbers)] = chance.choice(_NUMBERS)
    return "".join(tokens)
