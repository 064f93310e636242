"""Guarantees and routes: compiled rules, the engine that plans a call, its proof, its tests, its explanations."""

from gateway.routing.engine import Reach, Routing
from gateway.routing.explain import Decision, Tried, decide, sentence
from gateway.routing.policy_tests import Classify, Expect, Given, PolicyTest, run_tests
from gateway.routing.proof import Cell, Matrix, prove
from gateway.routing.rules import ANY, AUTO, DIRECT, Guarantee, Route, When

__all__ = [
    "ANY",
    "AUTO",
    "DIRECT",
    "Cell",
    "Classify",
    "Decision",
    "Expect",
    "Given",
    "Guarantee",
    "Matrix",
    "PolicyTest",
    "Reach",
    "Route",
    "Routing",
    "Tried",
    "When",
    "decide",
    "prove",
    "run_tests",
    "sentence",
]
