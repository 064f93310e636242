"""A made-up month: whose calls came when, and what became of them, as receipts that the gateway's own code wrote."""

from gateway.demo.month import Month
from gateway.demo.world import KEYS, WORKLOADS, Workload

__all__ = ["KEYS", "WORKLOADS", "Month", "Workload"]
