"""The `host` target: the machine this runs on, from what the system says and `devices/cpu/host.yaml` assumes."""

from __future__ import annotations

from .device import PRECISIONS
from .document import Node
from .errors import Where
from .machine import Machine, read_machine
from .quantity import DIMENSIONS, Quantity, format_quantity, format_si
from .reader import Section

__all__ = ["describe", "is_template", "read_machine"]

_LARGE_MACHINE = 16
_TEMPLATE_KEYS = ("instruction_sets", "matrix_sets", "assumptions")
_SINGLE = "1-thread"
_SMALLEST_QUOTA = 1.0


def is_template(tree: Node) -> bool:
    """Whether a file describes machines in general, to be filled in with what the system says of this one."""
    return isinstance(tree.value, dict) and _TEMPLATE_KEYS[0] in tree.value


def describe(template: Node, machine: Machine) -> tuple[Node, tuple[str, ...]]:
    """A device's tree for the machine, and remarks on what is doubtful. Raises `TargetError` for a broken template."""
    from .device_file import read_sources

    top = Section.root(template, read_sources(template, strict=True), strict=True)
    host = _Host(top, machine)
    keys = {key: node for key, node in top.children.items() if key not in _TEMPLATE_KEYS}
    keys["title"] = _text(machine.model or f"this machine ({machine.architecture})")
    keys["units"], keys["memories"], keys["modes"] = host.units(), host.memories(), host.modes()
    return Node(template.where, keys), host.notes()


class _Host:
    """The template's rows that fit the machine."""

    def __init__(self, top: Section, machine: Machine) -> None:
        self.machine = machine
        self.top = top
        self.assumptions = top.section("assumptions")
        told = machine.flags or frozenset(self._assumed_flags())
        self.vector = self._best(top.section("instruction_sets"), told)
        self.matrix = self._best(top.section("matrix_sets"), told)
        self.register = self._widest(top.section("instruction_sets"), told)
        self.clock = self._clock()
        self.cores = self._cores()

    def _assumed_flags(self) -> tuple[str, ...]:
        by_architecture = self.assumptions.section("flags")
        known = self.machine.architecture in by_architecture
        return by_architecture.names(self.machine.architecture) if known else ()

    def _best(self, rows: Section, flags: frozenset[str]) -> dict[str, Quantity]:
        """For each precision, the widest row whose instruction sets the machine has."""
        best: dict[str, Quantity] = {}
        for _, row in rows.sections():
            row.only("needs", "vendor", "family", "per_cycle", "vector", "source", "note")
            if not self._fits(row, flags):
                continue
            work = row.section("per_cycle")
            work.only(*PRECISIONS)
            for precision in work.children:
                found = work.quantity(precision, "work per cycle")
                if precision not in best or found.value > best[precision].value:
                    best[precision] = found
        return best

    def _widest(self, rows: Section, flags: frozenset[str]) -> Quantity | None:
        """The widest vector register of the rows that the machine has: its flags say so, nothing is assumed."""
        fitting = [row for _, row in rows.sections() if "vector" in row and self._fits(row, flags)]
        sizes = [row.quantity("vector", "size").value for row in fitting]
        where = self.machine.where.get("cpu", "")
        return Quantity(max(sizes), "B", "os", where, "the widest of its instruction sets") if sizes else None

    def _fits(self, row: Section, flags: frozenset[str]) -> bool:
        vendor = row.text("vendor") if "vendor" in row else self.machine.vendor
        family = int(row.text("family")) if "family" in row else self.machine.family
        fits = set(row.names("needs")) <= flags
        return fits and vendor == self.machine.vendor and family == self.machine.family

    def _clock(self) -> Quantity:
        if self.machine.hertz is None:
            return self.assumptions.quantity("clock", "frequency")
        return Quantity(self.machine.hertz, "Hz", "os", self.machine.where.get("clock", ""), self.machine.clock_is)

    def _cores(self) -> int:
        """Cores' worth of arithmetic that may be used: whole ones, at least one."""
        quota = self.machine.quota
        return self.machine.cores if quota is None else min(self.machine.cores, max(1, int(quota)))

    def units(self) -> Node:
        """The vector units of all usable cores, and the matrix units where there are any."""
        register = {"vector": _number(self.register, "size")} if self.register is not None else {}
        units = {"simd": self._unit(self.vector, "all", "vector units", register)}
        if self.matrix:
            units["matrix"] = self._unit(self.matrix, "contraction", "matrix units", {})
        return _mapping(units)

    def _unit(self, work: dict[str, Quantity], runs: str, title: str, more: dict[str, Node]) -> Node:
        per_cycle = _mapping({precision: _number(each, "work per cycle") for precision, each in work.items()})
        count = Quantity(self.cores, "", "os", "/sys/devices/system/cpu", self._count_note())
        children = {
            "title": _text(title),
            "runs": _text(runs) if runs == "all" else _list([runs]),
            "count": _number(count, "count"),
            "clock": _number(self.clock, "frequency"),
            "per_cycle": per_cycle,
        }
        return _mapping({**children, **more})

    def _count_note(self) -> str:
        quota = self.machine.quota
        limited = quota is not None and quota < self.machine.cores
        return f"{self.machine.cores} cores, of which the control group grants {quota:g}" if limited else ""

    def memories(self) -> Node:
        """Caches nearest first, then main memory."""
        levels = {f"l{level}": self._cache(level, self.cores) for level in self._levels()}
        size = self.machine.memory
        told = Quantity(size, "B", "os", "/proc/meminfo") if size else self._assumed("dram", "size", "size")
        levels["dram"] = _mapping({"size": _number(told, "size"), "bandwidth": _number(self._dram(self.cores), "rate")})
        return _mapping(levels)

    def _levels(self) -> list[int]:
        told = [cache.level for cache in self.machine.caches if 1 <= cache.level <= 3]
        return told or [1, 2]

    def _cache(self, level: int, cores: int) -> Node:
        size = self._cache_size(level, cores)
        return _mapping({"size": _number(size, "size"), "bandwidth": _number(self._width(level, cores), "rate")})

    def _cache_size(self, level: int, cores: int) -> Quantity:
        told = {cache.level: cache for cache in self.machine.caches}
        if level not in told:
            each = self._assumed("cache_size", f"l{level}", "size")
            return Quantity(each.value * cores, "B", each.source, each.where, each.note)
        cache = told[level]
        instances = min(cache.instances, cores)
        where = f"/sys/devices/system/cpu/cpu0/cache (level {level})"
        share = self.assumptions.quantity("shared_cache_of_guest", "size")
        if self.machine.virtual and level == 3 and cache.size * instances > share.value * cores:
            shown = format_quantity(cache.size * instances, "size")
            note = f"{share.note} ({shown} are reported for {cores})"
            return Quantity(share.value * cores, "B", share.source, share.where, note)
        note = f"{instances} × {format_quantity(cache.size, 'size')}" if instances > 1 else ""
        return Quantity(cache.size * instances, "B", "os", where, note)

    def _width(self, level: int, cores: int) -> Quantity:
        each = self._assumed("cache_width", f"l{level}", "width")
        note = f"{each.note}; {each.value:g} B/cycle × {cores} × {format_si(self.clock.value, 'Hz')}"
        return Quantity(each.value * cores * self.clock.value, "B/s", each.source, each.where, note)

    def _dram(self, cores: int) -> Quantity:
        """What so many cores draw from main memory: no more than passes their last cache."""
        told, last = self._dram_alone(cores), self._width(max(self._levels()), cores)
        if told.value <= last.value:
            return told
        return Quantity(last.value, "B/s", last.source, last.where, f"no more than the last cache: {last.note}")

    def _dram_alone(self, cores: int) -> Quantity:
        whole = self._assumed("dram", "large" if self.machine.cores > _LARGE_MACHINE else "small", "rate")
        core = self._assumed("dram", "core", "rate")
        if core.value * cores >= whole.value:
            return whole
        return Quantity(core.value * cores, "B/s", core.source, core.where, f"{core.note} × {cores}")

    def _assumed(self, section: str, key: str, dimension: str) -> Quantity:
        return self.assumptions.section(section).quantity(key, dimension)

    def modes(self) -> Node:
        """The machine used by one thread."""
        over: dict[str, Node] = {}
        one = Quantity(1.0, "", "os", "/sys/devices/system/cpu", "one thread")
        for unit in ("simd", "matrix") if self.matrix else ("simd",):
            over[f"units.{unit}.count"] = _number(one, "count")
        for level in self._levels():
            over[f"memories.l{level}"] = self._cache(level, 1)
        over["memories.dram.bandwidth"] = _number(self._dram(1), "rate")
        return _mapping({_SINGLE: _mapping(over)})

    def notes(self) -> tuple[str, ...]:
        """What a reader should know before trusting the description."""
        notes = ["described from what the operating system says; nothing was measured"]
        if self.machine.hertz is None:
            notes.append("the clock is assumed: the system tells none")
        elif "not told" in self.machine.clock_is:
            notes.append(f"the clock ({format_si(self.machine.hertz, 'Hz')}) is {self.machine.clock_is}")
        if self.machine.virtual:
            notes.append("a virtual machine: caches and bandwidth are shared with strangers")
        if not self.machine.flags:
            notes.append("instruction sets are assumed: the system shows none")
        return (*notes, "main memory's bandwidth is assumed: the system does not tell it")


def _mapping(children: dict[str, Node]) -> Node:
    for node in children.values():
        node.key_where = node.key_where or node.where
    return Node(Where("host"), children)


def _list(words: list[str]) -> Node:
    return Node(Where("host"), [_text(word) for word in words])


def _text(word: str) -> Node:
    return Node(Where("host"), word)


def _number(quantity: Quantity, dimension: str) -> Node:
    """A quantity as it would stand in a file, its place being where it was found out."""
    file, _, line = quantity.where.rpartition(":")
    where = Where(file, int(line)) if file and line.isdecimal() else Where(quantity.where)
    unit = f" {DIMENSIONS[dimension].si_unit}" if dimension != "count" else ""
    digits = repr(float(quantity.value)) if dimension != "count" else str(int(quantity.value))
    children = {"value": Node(where, f"{digits}{unit}"), "source": Node(where, quantity.source or "os")}
    if quantity.note:
        children["note"] = Node(where, quantity.note)
    return Node(where, children)
