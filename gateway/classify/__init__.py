"""From a call to its sensitivity: labels that callers and keys give, and what detectors find in the text."""

from gateway.classify.sensitivity import Classifier, DetectorRule, Rules, TermsRule

DETECTORS = ("pii", "secrets")

__all__ = ["DETECTORS", "Classifier", "DetectorRule", "Rules", "TermsRule"]
