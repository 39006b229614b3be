"""What a network must beat: counting, nearest sessions and classical models (lesson 04).

Importing this loads NumPy and pandas only; what needs scikit-learn (`classical`) or hmmlearn
(`hidden_markov`) is imported from its own module.
"""

from course_lib.baselines.counting import (
    EventFrequencies,
    Majority,
    MarkovChain,
    outcomes_and_codes,
    standard_baselines,
)

__all__ = [
    "EventFrequencies",
    "Majority",
    "MarkovChain",
    "outcomes_and_codes",
    "standard_baselines",
]
