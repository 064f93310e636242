"""Sensitivity as written -> the classifier."""

from __future__ import annotations

from gateway.classify import DETECTORS, Classifier, DetectorRule, Rules, TermsRule
from gateway.config.policies import SensitivitySettings

__all__ = ["DETECTORS", "classifier_of"]


def classifier_of(settings: SensitivitySettings) -> Classifier:
    """Compiles labels, detectors and terms; every level in them has been checked."""
    levels = tuple(settings.levels)
    default = levels.index(settings.default) if settings.default is not None else 0
    sources = settings.sources
    return Classifier(
        Rules(
            levels=levels,
            default=default,
            media=levels.index(settings.media) if settings.media is not None else default,
            headers=tuple(source.header for source in sources if source.header is not None),
            detectors=tuple(
                DetectorRule(source.detector, levels.index(source.level))
                for source in sources
                if source.detector is not None and source.level is not None
            ),
            terms=tuple(
                TermsRule(tuple(source.terms), levels.index(source.level))
                for source in sources
                if source.terms is not None and source.level is not None
            ),
        )
    )
