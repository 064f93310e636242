"""What a pool needs and costs: pure functions from a model, GPUs, a load and prices to figures with their formulas.

`report.answer` answers a whole question; `price.token_price` is what a pool's tokens cost now, for policies.
"""

from gateway.pool.planner.price import Pool, PoolPrice, token_price
from gateway.pool.planner.question import Question, Report
from gateway.pool.planner.report import answer

__all__ = ["Pool", "PoolPrice", "Question", "Report", "answer", "token_price"]
