"""Writes the tables of these pages from the code: `python docs/generate.py`; a test fails where one is stale.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what it cannot know (what a client should do about an
error, what an option is for) is said here, and a test fails where the code has a word that is not said.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import click
import msgspec

from adapters import compatible
from adapters._support import FEATURES
from adapters.openai import QUIRKS as OPENAI_QUIRKS
from adapters.openai import Quirks
from adapters.vllm import QUIRKS as VLLM_QUIRKS
from gateway.classify.patterns import KINDS as DETECTED
from gateway.cli import main
from gateway.core import errors
from gateway.core.errors import CALLERS_FAULT, CallError, Reason
from gateway.pool.planner.architecture import active_of, parts_of
from gateway.pool.planner.figures import GIB
from gateway.pool.planner.hardware import GPUS
from gateway.pool.planner.known import KNOWN, known
from gateway.pool.planner.memory import cache_of
from gateway.pool.planner.quantisation import FORMATS
from gateway.simulator import faults, vllm_process
from gateway.wiring.kinds import WIRES
from gateway.wiring.support import SHOWN, way_of

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent

_WIDTH: Final = 100
_MARKED: Final = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a Markdown table; a bar within a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


# -- errors -------------------------------------------------------------------------------------------------------


class Advice(NamedTuple):
    """What the code cannot say of an error: whose matter it is, and what a client does about it."""

    whose: str
    do: str


_FIX: Final = "correct the request; `param` names the field"
_WAIT: Final = "try again after `Retry-After`"
_ELSEWHERE: Final = "try again later; every deployment that may take the call has been tried"

ADVICE: Final[Mapping[str, Advice]] = {
    "-": Advice("caller", _FIX),
    "invalid_json": Advice("caller", "send strict JSON in UTF-8"),
    "invalid_type": Advice("caller", _FIX),
    "invalid_value": Advice("caller", _FIX),
    "missing_required_parameter": Advice("caller", _FIX),
    "empty_array": Advice("caller", _FIX),
    "integer_below_min_value": Advice("caller", _FIX),
    "integer_above_max_value": Advice("caller", _FIX),
    "invalid_sensitivity": Advice("caller", "name one of the levels that the message lists"),
    "invalid_form": Advice("caller", "send `multipart/form-data` as RFC 7578 has it, its fields before its files"),
    "forms_held": Advice("load", "write the form's `model` before its file, or try again after `Retry-After`"),
    "invalid_media_url": Advice("caller", "send the medium's bytes, or a public https URL that gives them"),
    "invalid_parameter": Advice("caller", "correct the query of `/admin`"),
    "context_length_exceeded": Advice("caller", "shorten the prompt, or ask for a model with a larger window"),
    "response_not_found": Advice("caller", "check the id: it is unknown, another tenant's, or no longer kept"),
    "response_not_kept": Advice(
        "caller", "send the conversation's items in `input`, and `store: false`: it is not kept, or no longer"
    ),
    "response_not_reachable": Advice(
        "policy", "send the conversation's items in `input`, and `store: false`: it may not go back to where it is kept"
    ),
    "unsupported_capability": Advice("caller", "ask for a model that can do it, or ask without it"),
    "content_filter": Advice("caller", "the provider refused the content; it is not routed around"),
    "invalid_http": Advice("caller", "speak HTTP/1.1 with one Host header"),
    "request_timeout": Advice("caller", "send the request faster"),
    "request_too_large": Advice("caller", "send less, or have `server.max_body` raised"),
    "headers_too_large": Advice("caller", "send fewer or shorter headers"),
    "uri_too_long": Advice("caller", "shorten the URL"),
    "unknown_url": Advice("caller", "correct the path; the base URL ends in `/v1`"),
    "method_not_allowed": Advice("caller", "use a method that `Allow` names"),
    "invalid_api_key": Advice("caller", "send a key that is known, enabled and not expired"),
    "invalid_admin_key": Advice("caller", "send the admin key, or a key with a role"),
    "role_forbidden": Advice("caller", "ask an admin: the key's role or team does not reach so far"),
    "field_forbidden": Advice(
        "caller", "leave the field as it is, or ask an admin: see [keys](keys.md#what-an-owner-may)"
    ),
    "key_not_found": Advice("caller", "`GET /admin/keys` lists the keys"),
    "key_conflict": Advice("caller", "take another name, edit the config, or look again: somebody was first"),
    "budget_not_found": Advice("caller", "`GET /admin/budgets` lists the budgets"),
    "csrf_refused": Advice(
        "caller", "load the page again; a script sends `x-csrf-token`, or a key instead of a session"
    ),
    "host_refused": Advice("operator", "add the name that browsers use to `admin.hosts`"),
    "if_match_required": Advice("caller", "send `If-Match` with the revision that the change goes on from"),
    "revision_outdated": Advice("caller", "look at what has changed meanwhile, then send the draft with its number"),
    "revision_not_found": Advice("caller", "correct the number: `GET /admin/config/revisions` lists those there are"),
    "config_refused": Advice("caller", "correct what `problems` names, by line and column"),
    "cannot_edit": Advice("caller", "correct the path, or edit the text itself"),
    "dry_run_going_on": Advice("load", _WAIT),
    "too_many_tries": Advice("caller", _WAIT + ", with the right key"),
    "model_not_found": Advice("caller", "correct the name; `GET /v1/models` lists those a key may use"),
    "not_found": Advice("caller", "the provider does not know what the request names"),
    "model_not_allowed": Advice("caller", "ask for another model, or for another key"),
    "no_permitted_deployment": Advice(
        "policy, or all that it permits is down", "403: do not retry, the guarantees forbid it; 503: " + _WAIT
    ),
    "requirement_unmet": Advice("load", _WAIT + ", or relax the route's `require`"),
    "open_door_refused": Advice("operator", "call from this machine, or have `auth: keys` set"),
    "overloaded": Advice("load", _WAIT),
    "stopping": Advice("gateway", _WAIT + ": another process will answer"),
    "journal_full": Advice("gateway", _WAIT + "; see [operations](operations.md#when-the-disk-is-full)"),
    "internal_error": Advice("gateway", "report it with the `x-request-id`"),
    "decision_not_found": Advice("caller", "check the id: it is the answer's `x-request-id`"),
    "endpoint_not_found": Advice("caller", "`GET /admin/breakers` lists the endpoints"),
    "replica_not_found": Advice("caller", "`GET /admin/pool` lists pools and replicas"),
    "pool_not_launched": Advice("caller", "steer the replica where it runs"),
    "store_unavailable": Advice("gateway", _WAIT + "; receipts wait in the journal meanwhile"),
    "upstream_unreachable": Advice("provider", _ELSEWHERE),
    "upstream_timeout": Advice("provider", _ELSEWHERE),
    "upstream_overloaded": Advice("provider", _ELSEWHERE),
    "upstream_error": Advice("provider", _ELSEWHERE),
    "upstream_stream_cut": Advice("provider", "discard what came of the stream and ask again"),
    "upstream_aborted": Advice("provider", _ELSEWHERE),
    "upstream_credentials": Advice("operator", "tell the operator: the gateway's key or account is refused"),
    "upstream_model_not_found": Advice("operator", "tell the operator: a deployment's model does not exist"),
    "budget_exceeded": Advice(
        "caller", "wait until the budget begins anew, or have it raised: see [budgets](budgets.md)"
    ),
    "rate_limit_exceeded": Advice("caller", _WAIT),
    "cancelled": Advice("caller", "nobody is told: the caller had gone"),
}


class Raised(NamedTuple):
    """One way in which an error is raised."""

    code: str
    status: int
    type: str
    error: str


def raised() -> list[Raised]:
    """Returns every code that a caller can be answered with, read from the code that raises it."""
    trees = [ast.parse(path.read_text()) for path in sorted(_sources())]
    classes = _classes(trees)
    found = {way for tree in trees for way in _ways(tree, classes)}
    found |= {
        Raised(code or "-", status, "rate_limit_error" if status == 429 else "upstream_error", "Unanswered")
        for status, code in errors._OURS.values()
    }
    found |= {
        Raised(code or "-", status, "invalid_request_error", "Unanswered")
        for status, code in (*errors._CALLERS_STATUS.values(), (404, "not_found"))
    }
    return sorted(found)


def _sources() -> Iterator[Path]:
    for package in ("gateway", "adapters"):
        yield from (ROOT / package).rglob("*.py")


def _classes(trees: Iterable[ast.Module]) -> dict[str, dict[str, object]]:
    """Returns status, type and code of every error that answers a caller, by the name of its class."""
    classes: dict[str, dict[str, object]] = {"CallError": {}}
    definitions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(3):  # as deep as the tree of errors is
        for node in definitions:
            base = next((base.id for base in node.bases if isinstance(base, ast.Name) and base.id in classes), None)
            if base is None and node.name != "CallError":
                continue
            facts = dict(classes[base]) if base else {}
            for line in node.body:
                names = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
                value = getattr(line, "value", None)
                for name in names:
                    if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                        facts[name.id] = value.value
            classes[node.name] = facts
    return classes


def _ways(tree: ast.Module, classes: Mapping[str, Mapping[str, object]]) -> Iterator[Raised]:
    values: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values.setdefault(node.targets[0].id, []).append(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        name = node.func.id
        if name == "Refusal" and len(node.args) == 3:  # (error, message, code): raised later
            name, given = ast.unparse(node.args[0]), {"code": node.args[2]}
        elif name == "_error" and all(isinstance(part, ast.Constant) for part in node.args[0:1] + node.args[2:4]):
            name, given = "CallError", {"status": node.args[0], "type": node.args[2], "code": node.args[3]}
        elif name == "Unanswered":  # its codes stand in tables
            continue
        facts = classes.get(name)
        if facts is None:
            continue
        said = [_constants(given[word], values) if word in given else [] for word in ("code", "status", "type")]
        usual = [facts.get(word) for word in ("code", "status", "type")]
        for code, status, type in product(*[some or [one] for some, one in zip(said, usual, strict=True)]):
            yield Raised(str(code or "-"), int(str(status or CallError.status)), str(type or CallError.type), name)


def _constants(node: ast.expr, values: Mapping[str, list[ast.expr]]) -> list[object]:
    """Returns what an expression can be, as far as it is written out."""
    match node:
        case ast.Constant(value=value):
            return [value]
        case ast.IfExp(body=body, orelse=otherwise):
            return _constants(body, values) + _constants(otherwise, values)
        case ast.JoinedStr(values=parts):
            return ["".join(map(str, each)) for each in product(*[_constants(part, values) for part in parts])]
        case ast.FormattedValue(value=value):
            return _constants(value, values)
        case ast.Name(id=name):
            return [constant for value in values.get(name, []) for constant in _constants(value, {})]
        case ast.Attribute(attr="type"):
            return [errors.BadRequest.type]
    return []


def codes() -> str:
    """Every code of an error."""
    by_code: dict[str, list[Raised]] = {}
    for way in raised():
        by_code.setdefault(way.code, []).append(way)
    rows = []
    for code in sorted(by_code, key=lambda code: (min(way.status for way in by_code[code]), code)):
        ways, advice = by_code[code], ADVICE[code]
        statuses = ", ".join(str(status) for status in sorted({way.status for way in ways}))
        types = ", ".join(f"`{type}`" for type in sorted({way.type for way in ways}))
        classes = ", ".join(f"`{name}`" for name in sorted({way.error for way in ways}))
        rows.append(["`null`" if code == "-" else f"`{code}`", statuses, types, classes, advice.whose, advice.do])
    return table(["code", "status", "type", "class", "whose matter", "what a client does"], rows)


def tree() -> str:
    """The tree of errors, as its module draws it."""
    drawn = (errors.__doc__ or "").split("\n\n", 1)[1].rstrip()
    return f"```text\n{drawn}\n```"


def reasons() -> str:
    """What a caller is told when its last attempt failed for a reason."""
    rows = []
    for reason in Reason:
        status, code = errors._CALLERS_STATUS[reason] if reason in CALLERS_FAULT else errors._OURS[reason]
        told = f"`{code}`" if code else "the provider's own, or `null`"
        whose = "the provider's, where it names one between 400 and 499; else " if reason in CALLERS_FAULT else ""
        rows.append([f"`{reason.value}`", f"{whose}{status}", told])
    return table(["reason", "status", "code"], rows)


# -- the simulator ------------------------------------------------------------------------------------------------

OPTIONS: Final[Mapping[str, str]] = {
    "after": "pieces of content that leave before it goes wrong",
    "times": "so many requests fail, those after are fine; without it, all fail",
    "wait": "how long a slow start, a stall or comments last",
    "every": "`drip`: the pause between two bytes",
    "size": "`huge`: the event's bytes",
    "status": "`early`: the answer's status",
    "retry-after": "a status: its `Retry-After`, in seconds or as a date",
    "retry-after-ms": "a status: its `retry-after-ms`",
    "code": "a status: the error's code",
    "message": "a status: the error's words",
    "tokens": "tokens of the answer",
    "ttft": "time to the first token",
    "tpot": "time per token after it",
}


def fault_kinds() -> str:
    """Every way of failing."""
    rows = [[f"`{kind}`", what] for kind, what in faults.KINDS.items()]
    return table(["fault", "what happens"], [["`400` … `599`", "an answer with this status and an error"], *rows])


def vllm_faults() -> str:
    """Returns what a simulated process of vLLM can be told to do wrong."""
    return table(("word", "what happens"), [(f"`{word}`", what) for word, what in vllm_process.FAULTS.items()])


def fault_options() -> str:
    """Every option of a fault, with its default where it has one."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(faults.Fault)}
    rows = []
    for option, (field, _) in faults._OPTIONS.items():
        default = defaults[field]
        rows.append([f"`{option}`", OPTIONS[option], "–" if default is None else f"`{_written(field, default)}`"])
    return table(["option", "what it is", "default"], rows)


def _written(field: str, value: object) -> str:
    return f"{float(str(value)) * 1000:g}ms" if field.endswith("_s") else str(value)


# -- providers ----------------------------------------------------------------------------------------------------


def provider_kinds() -> str:
    """Every kind of provider."""
    rows = []
    for kind, wire in WIRES.items():
        url = f"`{wire.base_url}`" if wire.base_url else "none: it runs in the process"
        if wire.base_url is None and kind != "simulator":
            url = "required" if kind != "vllm" else "`pool`, `endpoints` or `base_url` required"
            url = "`endpoint` required" if "endpoint" in wire.settings else url
        families = ", ".join(sorted(wire.serves))
        rows.append([f"`{kind}`", url, "required" if wire.needs_key else "optional", families, wire.adapter().name])
    return table(["kind", "base URL", "key", "endpoints", "adapter"], rows)


def support_dialects() -> str:
    """What becomes of each endpoint, kind by kind."""
    head = ["kind", *(f"`{dialect}`" for dialect in SHOWN)]
    return table(head, [[f"`{kind}`", *(way_of(wire, dialect) for dialect in SHOWN)] for kind, wire in WIRES.items()])


def support_features() -> str:
    """What becomes of what callers ask of a chat; kinds of which the same is true share a row."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for kind, wire in WIRES.items():
        told = [wire.support.of(feature) for feature in FEATURES]
        cells = tuple(f"{does.way}: {does.how}" if does.how else does.way for does in told)
        alike.setdefault(cells, []).append(f"`{kind}`")
    rows = [[", ".join(kinds), *cells] for cells, kinds in alike.items()]
    return table(
        ["what is asked", *(row[0] for row in rows)],
        [[feature, *(row[index + 1] for row in rows)] for index, feature in enumerate(FEATURES)],
    )


def provider_quirks() -> str:
    """What differs, provider by provider, and where that is from."""
    rows = []
    for kind, row in compatible.KINDS.items():
        rows += [[f"`{kind}`", done, "–"] for done in _done(row.quirks)]
        rows += [[f"`{kind}`", note.what, note.source] for note in row.notes]
    for kinds, quirks in (("`openai`, `azure`", OPENAI_QUIRKS), ("`vllm`", VLLM_QUIRKS)):
        rows += [[kinds, done, "–"] for done in _done(quirks)]
    rows += [
        [f"`{kind}`", quirk.what, quirk.source or "–"]
        for kind, wire in WIRES.items()
        if kind not in compatible.KINDS
        for quirk in wire.support.quirks
    ]
    return table(["kind", "what differs, or is done about it", "source"], rows)


def _done(quirks: Quirks) -> Iterator[str]:
    if "responses" in quirks.relays:
        yield "Responses are relayed: it speaks them itself"
    for name, other in quirks.renames:
        yield f"`{name}` is sent as `{other}`"
    if quirks.dropped:
        yield f"not sent: {', '.join(f'`{name}`' for name in quirks.dropped)}"
    if quirks.withheld:
        yield f"never passed on from a caller: {', '.join(f'`{name}`' for name in quirks.withheld)}"
    if not quirks.asks_usage:
        yield "a stream's usage is not asked for: it comes unasked"
    if quirks.refused:
        yield f"left out and declared: {', '.join(f'`{name}`' for name in quirks.refused)}"
    if quirks.replays is not None:
        taken = ", ".join(f"`{name}`" for name in quirks.replays) or "nothing"
        yield f"of a history's reasoning and providers' own fields it takes back: {taken}; the rest is declared"
    if quirks.takes:
        yield f"a translation may write: {', '.join(f'`{name}`' for name in quirks.takes)}"


# -- policies, commands -------------------------------------------------------------------------------------------


def detectors() -> str:
    """What the detectors find."""
    found: dict[str, list[str]] = {}
    for kind in DETECTED:
        found.setdefault(kind.detector, []).append(f"`{kind.name}`")
    return table(["detector", "finds"], [[f"`{name}`", ", ".join(kinds)] for name, kinds in found.items()])


def commands() -> str:
    """Every command's help, as the terminal shows it."""
    return "\n\n".join(
        f"## {name}\n\n```text\n{_help(command, name)}\n```" for name, command in _commands("headgate", main)
    )


def _commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for word in command.list_commands(context):
            inner = command.get_command(context, word)
            if inner is not None:
                yield from _commands(f"{name} {word}", inner)


def _help(command: click.Command, name: str) -> str:
    context = click.Context(
        command,
        info_name=name,
        terminal_width=_WIDTH,
        max_content_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


# -- sizing -------------------------------------------------------------------------------------------------------


def sized_models() -> str:
    """The models that `headgate size` knows by name."""
    rows = []
    for name, model in KNOWN.items():
        facts = known(name)[0]
        kv = cache_of(facts, 2.0)
        window = f" + {kv.per_window_token:,.0f} within {kv.window:,}" if kv.window else ""
        aliases = ", ".join(f"`{alias}`" for alias in model.aliases)
        active = "" if model.published == model.published_active else f", {active_of(facts) / 1e9:.1f} B active"
        parameters = f"{parts_of(facts).total / 1e9:,.2f} B{active}"
        rows.append([f"`{name}`", aliases or "–", parameters, f"{kv.per_token:,.0f}{window}", model.repository])
    return table(["name", "or", "parameters", "KV, B a token in 16 bits", "config.json of"], rows)


def sized_gpus() -> str:
    """The accelerators that `headgate size` knows."""
    rows = []
    for gpu in GPUS.values():
        rates = " / ".join(f"{rate:,.0f}" if rate else "–" for rate in (gpu.bf16, gpu.fp8, gpu.int8, gpu.fp4))
        rows.append(
            [
                f"`{gpu.name}`",
                f"{gpu.memory_gb} GB, {gpu.memory_bytes / GIB:.1f} GiB usable",
                f"{gpu.bandwidth_gb_s:,.0f}",
                rates,
                gpu.link.name,
                f"{gpu.server_watts:,}",
                f"{gpu.rent_usd:.2f} / {gpu.buy_usd:,.0f}",
            ]
        )
    head = ["GPU", "memory", "GB/s", "TFLOPS in bf16 / fp8 / int8 / fp4", "link", "W, with host", "$ an hour / to buy"]
    return table(head, rows)


def sized_formats() -> str:
    """The formats of weights that `headgate size` knows."""
    rows = [
        [f"`{form.name}`", f"{form.bits:g}", f"{form.rest_bits}", f"{form.group or '–'}", form.source]
        for form in FORMATS.values()
    ]
    return table(["format", "bits a weight, with scales", "bits of embeddings, head, norms", "group", "source"], rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "errors": tree,
    "codes": codes,
    "reasons": reasons,
    "faults": fault_kinds,
    "fault-options": fault_options,
    "vllm-faults": vllm_faults,
    "kinds": provider_kinds,
    "quirks": provider_quirks,
    "support-dialects": support_dialects,
    "support-features": support_features,
    "detectors": detectors,
    "commands": commands,
    "sized-models": sized_models,
    "sized-gpus": sized_gpus,
    "sized-formats": sized_formats,
}


def written(page: str) -> str:
    """Returns a page with its tables as the code has them; a table that nobody here writes is left as it is."""

    def fresh(match: re.Match[str]) -> str:
        write = TABLES.get(match[2])
        return match[0] if write is None else f"{match[1]}{write()}\n{match[3]}"

    return _MARKED.sub(fresh, page)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        path.write_text(written(path.read_text()))
