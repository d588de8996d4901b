"""The tables of docs/ are part of the protocol: here the code is held against them, in both directions."""

import ast
import dataclasses
import re
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest

from processors import engine, params
from processors.codes import CODES
from processors.registry import describe
from processors.shapes import Field, Shape
from state import governance, schema
from state.schema import SINGLETONS, TABLES, Table, Value

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PROCESSORS = sorted((ROOT / "processors").rglob("*.py"))
COMMON = ["too_long", "bad_json", "bad_keys", "bad_type", "out_of_bounds"]


# -- reading markdown


@dataclasses.dataclass
class Markdown:
    """One table of a document: the heading above it, its columns, and its rows as {column: cell}."""

    heading: str
    columns: list[str]
    rows: list[dict[str, str]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables_of(name: str) -> list[Markdown]:
    """Every table of docs/``name``, in order. A row with a wrong number of cells fails here."""
    found: list[Markdown] = []
    heading, inside = "", False
    for number, line in enumerate((DOCS / name).read_text().splitlines(), 1):
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        if not line.startswith("|"):
            inside = False
        elif not inside:
            found.append(Markdown(heading, cells(line), []))
            inside = True
        elif not re.fullmatch(r"[|\- ]+", line):
            row, columns = cells(line), found[-1].columns
            assert len(row) == len(columns), f"docs/{name}:{number}: {len(row)} cells, the table has {len(columns)}"
            found[-1].rows.append(dict(zip(columns, row, strict=True)))
    return found


def table(name: str, *columns: str) -> Markdown:
    """The one table of docs/``name`` that begins with these columns."""
    found = [t for t in tables_of(name) if t.columns[: len(columns)] == list(columns)]
    assert len(found) == 1, f"docs/{name}: {len(found)} tables begin with the columns {columns}, one is expected"
    return found[0]


def words(cell: str) -> list[str]:
    """What stands in backquotes in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def number(text: str) -> int | bool:
    """28,800 or 2^53 or true as the code has it."""
    if text in ("true", "false"):
        return text == "true"
    base, _, power = text.replace(",", "").partition("^")
    value: int = int(base) ** int(power or 1)
    return value


def same(what: str, where: str, documented: object, coded: object) -> None:
    """Fail with both sides of a difference."""
    assert documented == coded, f"{what}: {where} says {documented!r}, the code has {coded!r}: correct one of them"


def same_names(what: str, where: str, documented: list[str], coded: list[str]) -> None:
    """Fail with what is missing on which side, or twice, or in another order."""
    twice = sorted({name for name in documented if documented.count(name) > 1})
    assert not twice, f"{what}: {where} has {twice} twice"
    missing = [name for name in coded if name not in documented]
    assert not missing, f"{what}: the code has {missing}, {where} has not: write them there"
    surplus = [name for name in documented if name not in coded]
    assert not surplus, f"{what}: {where} has {surplus}, the code has not: take them out, or write the code"
    assert documented == coded, f"{what}: {where} has the order {documented}, the code {coded}"


# -- reading code


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in PROCESSORS:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def rejection(node: ast.AST) -> ast.Call | None:
    """``node`` if it calls Rejected."""
    if not isinstance(node, ast.Call):
        return None
    function = node.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    return node if name == "Rejected" else None


def literals(node: ast.AST) -> list[str]:
    """The codes that a call of Rejected may carry: a text, or a choice of texts."""
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def in_order(node: ast.AST) -> Iterator[ast.AST]:
    """``node`` and all below it, as they stand in the text."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from in_order(child)


@cache
def functions_of(module: str) -> dict[str, ast.FunctionDef]:
    """The functions of a module of processors/ by name."""
    tree = ast.parse((ROOT / "processors" / f"{module}.py").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def called(node: ast.AST, module: str) -> tuple[str, str]:
    """(module, function) of a call of a function of ``module``, or of another module of processors/ by its name."""
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Name):
        return module, function.id
    other = function.value if isinstance(function, ast.Attribute) else None
    if isinstance(other, ast.Name) and (ROOT / "processors" / f"{other.id}.py").exists():
        return other.id, function.attr
    return module, ""


def codes_in_order(module: str, function: str) -> list[str]:
    """The codes of a rule in the order of its text, those of functions of processors/ where they are called."""
    found: list[str] = []
    for statement in functions_of(module)[function].body:
        for node in in_order(statement):
            place, name = called(node, module)
            if call := rejection(node):
                found += [code for arg in call.args for code in literals(arg)]
            elif name in functions_of(place):
                found += codes_in_order(place, name)
    return list(dict.fromkeys(found))


def writers() -> dict[str, set[str]]:
    """Constant of a table in state/schema.py -> the modules of processors/ that put entries into it."""
    found: dict[str, set[str]] = {}
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "put":
                constant = getattr(node.args[0], "id", getattr(node.args[0], "attr", ""))
                found.setdefault(constant, set()).add(Path(path).stem)
    return found


def type_text(kind: typing.Any) -> str:
    """A type as docs/schema.md writes it."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return f"[{', '.join(type_text(a) for a in arguments if a is not Ellipsis)}]"
    if isinstance(kind, types.UnionType):
        return " or ".join("nil" if a is type(None) else type_text(a) for a in arguments)
    return str(kind.__name__)


# -- docs/schema.md


def title(each: Table[typing.Any]) -> str:
    return "/".join([each.name, *map(str, each.fixed)])


def overview() -> Markdown:
    return table("schema.md", "table", "key", "value")


ALL_TABLES = {title(each): each for each in SINGLETONS + TABLES}


def test_every_table_is_described() -> None:
    documented = [name for row in overview().rows for name in words(row["table"])]
    same_names("tables", "docs/schema.md", documented, list(ALL_TABLES))


def test_every_table_of_the_schema_is_registered() -> None:
    constants = {id(value): name for name, value in vars(schema).items() if isinstance(value, Table)}
    lost = sorted(constants.keys() - {id(each) for each in ALL_TABLES.values()})
    assert not lost, f"{[constants[i] for i in lost]}: neither in TABLES nor in SINGLETONS of state/schema.py"


@pytest.mark.parametrize("name", ALL_TABLES)
def test_key_fields_and_value_of_a_table(name: str) -> None:
    (row,) = (row for row in overview().rows if words(row["table"]) == [name])
    each = ALL_TABLES[name]
    fields = [field.rpartition(": ") for field in words(row["key"])]
    where = f"docs/schema.md, table {name}"
    same("types of the key fields", where, [kind for _, _, kind in fields], [kind.__name__ for kind in each.fields])
    if each.fixed:
        same("key", where, [field for field, _, _ in fields], [f'"{part!s}"' for part in each.fixed])
    same("value", where, row["value"], each.value.__name__)


@pytest.mark.parametrize("name", ALL_TABLES)
def test_writers_of_a_table(name: str) -> None:
    (row,) = (row for row in overview().rows if words(row["table"]) == [name])
    (constant,) = (c for c, value in vars(schema).items() if value is ALL_TABLES[name])
    documented = sorted(filter(None, row["written by"].split(", ")))
    same("written by", f"docs/schema.md, table {name},", documented, sorted(writers().get(constant, ())))


def values() -> dict[str, type[Value]]:
    """Those of state/schema.py, then those of state/governance.py, each in the order of the text."""
    found = sorted(Value.__subclasses__(), key=lambda kind: kind.__module__ == governance.__name__)
    return {kind.__name__: kind for kind in found if kind.__module__ in (schema.__name__, governance.__name__)}


def test_every_value_is_described() -> None:
    documented = [t.heading for t in tables_of("schema.md") if t.columns[:2] == ["field", "type"]]
    same_names("values", "docs/schema.md", documented, list(values()))


@pytest.mark.parametrize("name", values())
def test_fields_and_types_of_a_value(name: str) -> None:
    (found,) = (t for t in tables_of("schema.md") if t.heading == name and t.columns[:2] == ["field", "type"])
    coded = {field.name: type_text(field.type) for field in msgspec.structs.fields(values()[name])}
    where = f"docs/schema.md, value {name}"
    same_names("fields", where, [row["field"] for row in found.rows], list(coded))
    for row in found.rows:
        same(f"type of {row['field']}", where, row["type"], coded[row["field"]])
        assert row["bounds and meaning"], f"{where}: {row['field']} has no bounds and meaning"


def test_every_job_is_described() -> None:
    documented = [name for row in table("schema.md", "job", "what").rows for name in words(row["job"])]
    same_names("jobs", "docs/schema.md", sorted(documented), describe(engine.RULES)["job"])


# -- docs/codes.md


def documented_checks() -> dict[str, list[str]]:
    rows = table("codes.md", "operation", "checks, first to last").rows
    return {row["operation"]: words(row["checks, first to last"]) for row in rows}


def test_codes_their_order_and_meaning() -> None:
    rows = table("codes.md", "code", "meaning").rows
    documented = {code: row["meaning"] for row in rows for code in words(row["code"])}
    same_names("codes", "docs/codes.md", [c for row in rows for c in words(row["code"])], list(CODES))
    for code, meaning in CODES.items():
        same(f"meaning of {code}", "docs/codes.md", documented[code], meaning)


def test_every_rejection_in_the_code_has_a_code_and_every_code_is_given() -> None:
    given: dict[str, str] = {}
    for path, tree in modules():
        for node in ast.walk(tree):
            if call := rejection(node):
                place = f"{path}:{call.lineno}"
                found = [code for arg in call.args for code in literals(arg)]
                assert found, f"{place}: Rejected needs a literal code, or this test cannot see it"
                for code in found:
                    assert code in CODES, f"{place}: Rejected({code!r}): no such code in processors/codes.py"
                    given[code] = place
    unused = [code for code in CODES if code not in given]
    assert not unused, f"no rule in processors/ gives {unused}: take them out of processors/codes.py and docs/codes.md"


def test_every_operation_has_its_order_of_checks() -> None:
    names = describe(engine.RULES)["json"]
    same_names("operations", "docs/codes.md, order of checks", sorted(documented_checks()), names)


@pytest.mark.parametrize("name", describe(engine.RULES)["json"])
def test_order_of_checks_of_an_operation(name: str) -> None:
    rule = engine.RULES.find("json", name, 2**32)
    assert rule is not None
    common = COMMON if rule.shape else COMMON[:3]
    own = codes_in_order(rule.call.__module__.rpartition(".")[2], rule.call.__name__)
    coded = list(dict.fromkeys(common + own))
    same(f"order of checks of {name}", "docs/codes.md", documented_checks().get(name), coded)


def test_the_common_checks_come_in_the_order_of_the_codes() -> None:
    assert list(CODES)[: len(COMMON)] == COMMON, f"processors/codes.py must begin with {COMMON}"


def test_every_operation_checks_in_the_order_of_the_codes() -> None:
    order = list(CODES)
    for name, codes in documented_checks().items():
        same(f"order of checks of {name}", "docs/codes.md", codes, sorted(codes, key=order.index))


def test_which_operations_give_a_code() -> None:
    checks = documented_checks()
    for row in table("codes.md", "code", "meaning").rows:
        (code,) = words(row["code"])
        text = row["given by"]
        everyone, _, without = text.partition(" but ")
        named = checks.keys() - set(without.split(", ")) if everyone == "all" else set(text.split(", "))
        giving = {operation for operation, codes in checks.items() if code in codes}
        assert named == giving, (
            f"docs/codes.md: {code} is given by {text!r} in the first table, "
            f"but by {sorted(giving)} in the order of checks"
        )


def flat(shape: Shape, before: str = "") -> Iterator[tuple[str, Field]]:
    for name, field in shape.items():
        yield before + name + "?" * field.optional, field
        if field.inner is not None:
            yield from flat(field.inner, f"{before}{name}.")


def test_fields_of_the_operations() -> None:
    kinds: dict[type, str] = {dict: "object"}
    rows = table("codes.md", "operation", "key", "type").rows
    for name in describe(engine.RULES)["json"]:
        rule = engine.RULES.find("json", name, 2**32)
        assert rule is not None
        coded = [(key, kinds.get(field.kind, field.kind.__name__)) for key, field in flat(rule.shape)]
        documented = [(row["key"], row["type"]) for row in rows if row["operation"] == name]
        same(f"fields of {name}", "docs/codes.md", documented, coded)
    unknown = sorted({row["operation"] for row in rows} - set(describe(engine.RULES)["json"]))
    assert not unknown, f"docs/codes.md has fields of {unknown}: no such operation"


# -- docs/parameters.md


def documented_parameters() -> dict[str, dict[str, str]]:
    return {row["parameter"]: row for row in table("parameters.md", "parameter", "default").rows}


def test_every_parameter_is_described() -> None:
    names = list(documented_parameters())
    same_names("parameters", "docs/parameters.md", names, list(params.Params.__struct_fields__))
    same_names("parameters", "docs/parameters.md", names, list(params.BOUNDS))


@pytest.mark.parametrize("name", params.BOUNDS)
def test_default_and_bounds_of_a_parameter(name: str) -> None:
    row, where = documented_parameters()[name], "docs/parameters.md"
    default, (low, high, unit) = getattr(params.Params(), name), params.BOUNDS[name]
    same(f"type of {name}", where, type(number(row["default"])), type(default))
    same(f"default of {name}", where, number(row["default"]), default)
    same(f"lowest {name}", where, number(row["lowest"]), low)
    same(f"highest {name}", where, number(row["highest"]), high)
    same(f"unit of {name}", where, row["unit"], unit)
    assert low <= default <= high, f"processors/params.py: the default of {name} is outside its own bounds"
    assert row["meaning"], f"{where}: {name} has no meaning"
    sections = re.findall(r"^## (\d+)\.", (DOCS / "protocol.md").read_text(), re.MULTILINE)
    assert set(row["section"].split(", ")) <= set(sections), f"{where}: {name}: protocol.md has no such section"


#: Conditions of docs/parameters.md between parameters, each with values that break it and no other.
BROKEN: dict[str, dict[str, object]] = {
    "report_at < round_length": {"report_at": 100},
    "header_min_left + 3 * (2 * round_length - report_at) < header_lifetime": {"header_min_left": 85_950},
    "trace_keep >= 2 * round_length": {"trace_keep": 199},
    "min_signers <= max_runners": {"max_runners": 2},
    "header_lifetime <= 3600 with hive_rules 27": {"hive_rules": 27, "header_lifetime": 3_601},
}


def test_conditions_between_parameters() -> None:
    documented = [text for row in table("parameters.md", "condition").rows for text in words(row["condition"])]
    same_names("conditions", "docs/parameters.md", documented, list(BROKEN))
    for condition, given in BROKEN.items():
        found = params.problems(params.defaults(given))
        name = condition.partition(" ")[0]
        assert len(found) == 1, f"{condition}: {given} breaks it alone, processors/params.py finds {found}"
        assert found[0].startswith(f"parameters.{name}: "), f"{condition}: processors/params.py says {found[0]!r}"
    accepted: list[dict[str, object]] = [{}, {"hive_rules": 27}, {"hive_rules": 27, "header_lifetime": 3_600}]
    for given in accepted:
        assert not params.problems(params.defaults(given)), f"processors/params.py must accept {given}"


def protocol_list() -> dict[str, str]:
    """The list of defaults of protocol.md section 1: name -> the rest of its item."""
    text = (DOCS / "protocol.md").read_text()
    match = re.search(r"stand for the first three\.\n(.+?)\.\n\n", text, re.DOTALL)
    assert match is not None, "docs/protocol.md section 1: the list of parameters was not found"
    return dict(item.strip().partition(" ")[::2] for item in match[1].split("·"))


def test_the_defaults_are_those_of_the_protocol() -> None:
    listed = protocol_list()
    same_names("parameters", "docs/protocol.md section 1", list(listed), list(documented_parameters()))
    for name, rest in listed.items():
        default = getattr(params.Params(), name)
        same(f"default of {name}", "docs/protocol.md section 1", number(rest.split()[0]), default)


def test_what_the_protocol_says_in_brackets_about_parameters() -> None:
    listed = protocol_list()
    brackets = {name: match[1] for name, rest in listed.items() if (match := re.search(r"\((.+)\)", rest))}
    header_lifetime = params.defaults({"hive_rules": 27})["header_lifetime"]
    coded = {
        "header_lifetime": f"{header_lifetime:,} with hive_rules 27",
        "max_runners": f"at most {params.BOUNDS['max_runners'][1]}",
    }
    same("remarks on parameters", "docs/protocol.md section 1", brackets, coded)


# -- docs/dependencies.md


@pytest.mark.parametrize("heading", ["At run time", "For development"])
def test_every_dependency_has_its_reason(heading: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] if heading == "At run time" else project["optional-dependencies"]["dev"]
    (found,) = (t for t in tables_of("dependencies.md") if t.heading == heading)
    names = sorted(re.split(r"[<>=~! \[;]", line)[0] for line in wanted)
    same_names("packages", f"docs/dependencies.md, {heading},", sorted(row["package"] for row in found.rows), names)
    for row in found.rows:
        assert all(row.values()), f"docs/dependencies.md: {row['package']} needs a purpose and a reason"


def outside_imports() -> dict[str, set[str]]:
    """Package that the lower two floors import -> the files that do, the standard library aside."""
    found: dict[str, set[str]] = {}
    for path in [*sorted((ROOT / "state").rglob("*.py")), *PROCESSORS]:
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                imported = [node.module]
            for name in (module.partition(".")[0] for module in imported):
                if name not in sys.stdlib_module_names | {"state", "processors"}:
                    found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_what_the_lower_two_floors_import() -> None:
    match = re.search(
        r"^The lower two floors .+ import only (.+)\.$", (DOCS / "dependencies.md").read_text(), re.MULTILINE
    )
    assert match is not None, "docs/dependencies.md: the sentence on the lower two floors was not found"
    files = outside_imports()
    items = re.split(r", | and ", match[1])
    same_names("packages", "docs/dependencies.md", [item.split()[0] for item in items], sorted(files))
    for item in items:
        if "alone" in item:
            same(
                f"files that import {item.split()[0]}", "docs/dependencies.md", set(words(item)), files[item.split()[0]]
            )
