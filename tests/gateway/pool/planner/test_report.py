"""The questions of an operator's first day, asked of the whole, and read as they are shown."""

from __future__ import annotations

import re

import msgspec
import pytest

from gateway.pool.planner.calibrate import Live, Startup
from gateway.pool.planner.figures import MARKS, Figure, Section
from gateway.pool.planner.fit import Wanted
from gateway.pool.planner.hardware import gpu_of, link_of
from gateway.pool.planner.known import known
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.load import load_of
from gateway.pool.planner.memory import weights_of
from gateway.pool.planner.price import Hosted, Terms
from gateway.pool.planner.quantisation import format_of
from gateway.pool.planner.question import Question, Report, Table
from gateway.pool.planner.rates import Machine
from gateway.pool.planner.report import answer
from gateway.pool.planner.text import WIDTH, as_text

HOSTED = (Hosted("mini", 0.25, 0.025, 2.0), Hosted("large", 1.25, 0.125, 10.0))


def _question(model: str, gpu: str | None = None, count: int | None = None, form: str = "", **more: object) -> Question:
    architecture, published = known(model)
    taken = format_of(form) if form else published
    link = more.pop("link", None)
    machine = None
    if gpu is not None:
        on = gpu_of(gpu)
        machine = Machine(on, link_of(str(link)) if link else on.link, link_of("400g"))
    wanted = Wanted(architecture, taken, weights_of(architecture, taken), 2.0)
    return Question(wanted, machine, count, hosted=HOSTED, **more)  # type: ignore[arg-type]


def _figure(report: Report, name: str) -> Figure:
    for part in report.parts:
        for figure in part.figures if isinstance(part, Section) else ():
            if figure.name.startswith(name):
                return figure
    raise AssertionError(f"{name} is not among {[part.title for part in report.parts]}")


def _table(report: Report, title: str) -> Table:
    return next(part for part in report.parts if isinstance(part, Table) and part.title.startswith(title))


LONG = (Hosted("a-deployment-with-a-name-as-long-as-people-give-them", 0.0001, 0.00001, 0.0002), *HOSTED)

QUESTIONS = {
    "long names": msgspec.structs.replace(_question("glm-5", "l4", 512, load=load_of("9999:999:999")), hosted=LONG),
    "on what": _question("70b"),
    "on this": _question("70b", "h100"),
    "a mixture": _question("745b", "h200", 16, "fp8", load=load_of("2000:400:20")),
    "a window": _question("gemma-3-27b", "l40s", 2),
    "a slow link": _question("70b", "a10g", 8, link="25g"),
    "too small": _question("405b", "l4", 8),
    "measured": _question("8b", "a100", 1, startup=Startup(weights=15.0, cache=56.21, cache_tokens=460_496),
                          live=Live(running=24.0, tpot_s=0.012, hit=0.4)),
    "pinned": _question("70b", "h100", 8, layout=Layout(8)),
    "money alone": Question(None, Machine(gpu_of("h200"), gpu_of("h200").link, link_of("400g")), 16),
    "nothing": Question(),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("explain", [False, True])
def test_every_answer_fits_a_terminal_of_100_columns(name: str, explain: bool) -> None:
    text = as_text(answer(QUESTIONS[name]), explain)
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert "inf" not in re.findall(r"\binf\b|\bnan\b", text)
    assert text.endswith("\n")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_figure_names_its_formula_and_its_mark_and_every_guess_its_error(name: str) -> None:
    for part in answer(QUESTIONS[name]).parts:
        for figure in part.figures if isinstance(part, Section) else ():
            assert figure.formula, figure.name
            assert figure.unit, figure.name
            assert figure.mark in MARKS
            assert (figure.error > 0) == (figure.mark == "estimate") or figure.mark in ("fact", "measured"), figure.name
        if isinstance(part, Table):
            assert part.mark in MARKS
            assert part.formula
            assert {len(row) for row in part.rows} <= {len(part.columns)} == {len(part.units)}


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_is_the_same_as_data(name: str) -> None:
    report = answer(QUESTIONS[name])
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report).title == report.title


def test_explained_a_figure_shows_its_numbers() -> None:
    text = as_text(answer(QUESTIONS["on this"]), explain=True)
    assert "= 70,553,706,496 · 16 / 8" in text
    assert "= 2·80·8·128·2" in text
    assert "= 32·(327,680·4,096)" in text


def test_32_sequences_of_a_70b_are_40_gib_of_kv() -> None:
    report = answer(QUESTIONS["on what"])
    kv = _figure(report, "32 sequences of 4,096")
    assert kv.shown == "42.9 GB (40.0 GiB)"
    assert kv.mark == "fact"


def test_what_a_model_fits_on_is_told_for_every_format() -> None:
    rows = {str(row[0]): row for row in _table(answer(QUESTIONS["on what"]), "how many GPUs").rows}
    assert list(rows) == ["fp32", "fp16", "fp8", "int8", "int4"]
    assert rows["fp16"][1] == pytest.approx(141.1, rel=0.001)
    a100, h200 = rows["fp16"][2], rows["fp16"][4]
    assert (a100, h200) == ("2 / 4", "2")  # two hold it with a sequence, four with all of them
    largest = {str(row[0]): row for row in _table(answer(_question("745b")), "how many GPUs").rows}
    assert largest["fp32"][2] == "–"


def test_one_stream_of_a_70b_is_14_tokens_a_second_of_an_a100() -> None:
    assert _figure(answer(_question("70b", "a100")), "one stream at one A100").value == pytest.approx(14.45, rel=0.01)


def test_eight_a10g_over_25_gigabits_give_a_fraction_and_it_is_said_why() -> None:
    report = answer(QUESTIONS["a slow link"])
    assert "Tensors are not split over a network of 25 Gb/s" in " ".join(report.brief)
    assert any(reason.startswith("TP8: each token makes every GPU send") for reason in report.refused)
    assert _figure(report, "of their prefill they do").value < 0.3
    assert _figure(report, "of their decode").value < 0.5


def test_sixteen_h200_are_priced_without_a_model() -> None:
    rows = _table(answer(QUESTIONS["money alone"]), "what 16×H200 cost").rows
    assert [row[0] for row in rows] == ["rented", "reserved, 40% off", "reserved, 60% off", "bought"]
    assert rows[0][1] == pytest.approx(16 * 4.06)


def test_a_load_that_takes_more_than_there_is_is_told() -> None:
    report = answer(_question("70b", "h100", 4, load=load_of("2000:300:20")))
    assert re.search(r"takes \d+ replicas, \d+ GPUs, \d+ more than there are", " ".join(report.brief))


def test_what_does_not_fit_says_what_would() -> None:
    report = answer(_question("70b", "h100", 1))
    said = " ".join(report.brief)
    assert not report.fits
    assert "It does not fit" in said
    assert "2×H100 hold it" in said
    assert "--quant int4" in said


def test_what_was_measured_is_marked_and_stands_beside_the_formula() -> None:
    report = answer(QUESTIONS["measured"])
    kv = _figure(report, "KV of a replica")
    assert (kv.value, kv.mark) == (460_496, "measured")
    assert re.fullmatch(r"the formula said 4\d\d,\d\d\d tokens", kv.worked)
    assert _figure(report, "output of a replica").mark == "measured"
    assert _figure(report, "usable").mark == "estimate"  # the log has no word of it


def test_a_way_that_is_asked_for_is_priced_alone() -> None:
    report = answer(msgspec.structs.replace(QUESTIONS["on this"], ways=("bought",), terms=Terms(buy_usd=1.0, staff=0)))
    assert [row[0] for row in _table(report, "what 4×H100 cost").rows] == ["bought"]
    assert "on bought GPUs" in " ".join(report.brief)


def test_without_hosted_prices_there_is_no_break_even_and_it_is_said() -> None:
    report = answer(msgspec.structs.replace(QUESTIONS["on this"], hosted=()))
    assert "--against" in " ".join(report.brief)
    assert not [part for part in report.parts if part.title.startswith("break-even")]


def test_without_a_count_the_fewest_are_taken_over_the_link_there_is() -> None:
    fast, slow = answer(_question("70b", "a10g")), answer(_question("70b", "a10g", link="25g"))
    assert "16×A10G" in fast.title
    assert "PCIe" in fast.title
    assert "network of 25 Gb/s" in slow.title
    assert "TP1×PP" in " ".join(slow.brief)


def test_a_context_that_the_model_is_not_made_for_is_told() -> None:
    question = QUESTIONS["on this"]
    assert question.wanted is not None
    longer = msgspec.structs.replace(question, wanted=msgspec.structs.replace(question.wanted, context=200_000))
    assert "llama-3.3-70b is made for 131,072 tokens, not for 200,000." in answer(longer).brief
