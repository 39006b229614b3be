"""The rulers: scores for forecasts, for rankings and for curves, each with an interval.

`forecasts` scores probabilities, `ranking` the rank of the true item in a catalogue, `curves`
spreads one score out again. Lesson 04 derives them all.
"""

from course_lib.metrics.curves import (
    precision_recall_curve,
    precision_recall_f1,
    reliability_curve,
    roc_curve,
)
from course_lib.metrics.forecasts import (
    CLIP,
    METRICS,
    Interval,
    Metric,
    accuracy,
    align,
    average_precision,
    brier,
    gap_closed,
    interval,
    log_loss,
    macro_f1,
    paired_difference,
    paired_score_difference,
    per_row_log_loss,
    roc_auc,
    scorecard,
)
from course_lib.metrics.ranking import (
    RANKING,
    RankingMetric,
    coverage,
    hit_rate,
    mrr,
    ndcg,
    per_row_ranking,
    popularity_of,
    rank_of_target,
    ranking_metric,
    ranking_scorecard,
)

__all__ = [
    "CLIP",
    "METRICS",
    "RANKING",
    "Interval",
    "Metric",
    "RankingMetric",
    "accuracy",
    "align",
    "average_precision",
    "brier",
    "coverage",
    "gap_closed",
    "hit_rate",
    "interval",
    "log_loss",
    "macro_f1",
    "mrr",
    "ndcg",
    "paired_difference",
    "paired_score_difference",
    "per_row_log_loss",
    "per_row_ranking",
    "popularity_of",
    "precision_recall_curve",
    "precision_recall_f1",
    "rank_of_target",
    "ranking_metric",
    "ranking_scorecard",
    "reliability_curve",
    "roc_auc",
    "roc_curve",
    "scorecard",
]
