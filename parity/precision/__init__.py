"""How few bits a model's layers need: each layer's error at the logits, and a recipe that keeps a budget."""

from parity.precision.recipe import Budget
from parity.precision.search import search

__all__ = ["Budget", "search"]
