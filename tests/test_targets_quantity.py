"""Numbers with units: what parses, to what, what is refused, and that printing is parsing's inverse."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.targets import Quantity, format_quantity, parse_quantity
from graphs.targets.quantity import DIMENSIONS, QuantityError, format_si


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("8 MiB", "size", 8 * 2**20),
        ("8 MB", "size", 8e6),
        ("640 KiB", "size", 655_360),
        ("1.5GiB", "size", 1.5 * 2**30),
        ("68 GB/s", "rate", 68e9),
        ("1 GiB/s", "rate", 2**30),
        ("4.8 TB/s", "rate", 4.8e12),
        ("120 MHz", "frequency", 120e6),
        ("1.301 GHz", "frequency", 1.301e9),
        ("15 W", "power", 15),
        ("43.6 mW", "power", 0.0436),
        ("0 W", "power", 0),
        ("0.3 pJ", "energy", 0.3e-12),
        ("20 pJ/B", "energy per byte", 20e-12),
        ("5 us", "duration", 5e-6),
        ("5 µs", "duration", 5e-6),
        ("250 ns", "duration", 250e-9),
        ("989.4 TFLOP/s", "throughput", 989.4e12),
        ("2 TOP/s", "throughput", 2e12),
        ("2 GMAC/s", "throughput", 4e9),
        ("4096 mac", "work per cycle", 8192),
        ("128 flop", "work per cycle", 128),
        ("128 op", "work per cycle", 128),
        ("64 B", "width", 64),
        ("1e3 MB", "size", 1e9),
    ],
)
def test_text_is_read_in_si_units(text, dimension, value):
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("512", "rate", 'expected a rate such as "512 GB/s", got "512"'),
        ("512 Gb/s", "rate", 'expected a rate such as "512 GB/s", got "512 Gb/s"'),
        ("512 GB", "rate", 'expected a rate such as "512 GB/s", got "512 GB"'),
        ("-3 GHz", "frequency", 'expected a frequency such as "1.2 GHz", got "-3 GHz"'),
        ("nan GHz", "frequency", 'expected a frequency such as "1.2 GHz", got "nan GHz"'),
        ("inf GHz", "frequency", 'expected a frequency such as "1.2 GHz", got "inf GHz"'),
        ("0 GHz", "frequency", 'expected a frequency above zero, got "0 GHz"'),
        ("1e999 GHz", "frequency", 'expected a finite frequency, got "1e999 GHz"'),
        ("", "energy", 'expected an energy such as "1.1 pJ", got ""'),
        ("1,5 pJ", "energy", 'expected an energy such as "1.1 pJ", got "1,5 pJ"'),
        ("9" * 90 + " B", "size", f'expected a size such as "8 MiB", got "{"9" * 64}…"'),
        ("4096", "work per cycle", 'expected a work per cycle such as "4096 mac", got "4096"'),
    ],
)
def test_what_is_no_such_quantity_is_refused(text, dimension, message):
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, dimension)
    assert str(caught.value) == message


@given(
    dimension=st.sampled_from(sorted(DIMENSIONS)),
    value=st.floats(min_value=1e-18, max_value=1e24, allow_nan=False, allow_infinity=False),
)
def test_printing_is_the_inverse_of_parsing(dimension, value):
    assert math.isclose(parse_quantity(format_quantity(value, dimension), dimension), value, rel_tol=4e-16)


@given(st.text(max_size=30), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_a_finite_number_above_or_at_zero_or_an_error(text, dimension):
    try:
        value = parse_quantity(text, dimension)
    except QuantityError:
        return
    assert math.isfinite(value)
    assert value >= 0


def test_quantities_print_for_people():
    assert str(Quantity(989.4e12, "FLOP/s", None, "x.yaml:1")) == "989 TFLOP/s"
    assert format_si(5.2e-6, "s") == "5.2 µs"
    assert format_si(0, "W") == "0 W"
    assert format_si(1e-18, "J") == "0.001 fJ"


def test_an_assumption_says_so():
    assert Quantity(1, "s", "os", "x:1", "assumed: nobody says").assumed
    assert not Quantity(1, "s", "os", "x:1", "as the data sheet says").assumed
