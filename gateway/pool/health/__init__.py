"""The truth about replicas: whether they work, which nobody says of himself; what follows is Control's or the bars'."""

from gateway.pool.health.drift import Drift
from gateway.pool.health.machine import Canary, Health, Probe, Settings, Standing, Verdict, What
from gateway.pool.health.watch import Reach, Untold, Watcher

__all__ = [
    "Canary",
    "Drift",
    "Health",
    "Probe",
    "Reach",
    "Settings",
    "Standing",
    "Untold",
    "Verdict",
    "Watcher",
    "What",
]
