"""Tiny logs from words: one session a word, one event a letter."""

from __future__ import annotations

import pandas as pd

EVENTS = ["view", "cart", "purchase"]
NAMES = dict(zip("vcp", EVENTS, strict=True))


def letter_log(*sessions: str) -> pd.DataFrame:
    """``letter_log("vcp", "vv")``: a session that buys and one that only looks."""
    rows = [(number, NAMES[letter]) for number, text in enumerate(sessions) for letter in text]
    log = pd.DataFrame(rows, columns=["session_id", "event"])
    log["event"] = pd.Categorical(log["event"], EVENTS)
    return log
