# SPDX-License-Identifier: Apache-2.0
"""The model card: what a model is, how it was made, and how good the saved weights are, measured on the spot."""

from logitmix_nlp.publishing.card.collect import card_facts
from logitmix_nlp.publishing.card.facts import CardFacts, CardOptions, DatasetFacts
from logitmix_nlp.publishing.card.write import write_card

__all__ = ["CardFacts", "CardOptions", "DatasetFacts", "card_facts", "write_card"]
