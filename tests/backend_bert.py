"""Train an encoder of events for a step on the backend of KERAS_BACKEND and print the losses.

`test_bert` runs this once on each backend: initial weights and data are NumPy's, the masks are
drawn by Python, and there is no dropout, so the losses must agree: before a step, and after one
that is small, as Adam makes much of gradients that are nearly nothing.
"""

from __future__ import annotations

from backend_step import set_weights, small_log
from both_backends import report

from course_lib.models.bert import answer_network, behaviour_encoder, masked_network
from course_lib.sequences import Fields, question_sequences, whole_sequences
from course_lib.sessions import next_event
from course_lib.training import fit
from course_lib.training.masked import pretrain


def losses() -> dict[str, list[float]]:
    """Log-loss before a step of pretraining and after it; the same of a step of asking."""
    log = small_log()
    train = (log["session_id"] < 40).to_numpy()
    fields = Fields.fit(log, train)
    parts = [whole_sequences(log, fields, rows=rows, length=8) for rows in (train, ~train)]
    third = (log.groupby("session_id").cumcount() == 2).to_numpy()  # all of one length: one step
    asked = [
        question_sequences(log, fields, next_event(log), rows=rows & third, length=8)
        for rows in (train, ~train)
    ]
    encoder = behaviour_encoder(fields, width=8, blocks=1, dropout=0, length=8)
    common = {"epochs": 1, "learning_rate": 1e-3, "progress": False}
    network = masked_network(encoder, ("event", "item"))
    set_weights(network)
    pretrained = pretrain(network, *parts, batch_size=60, shapes=1, **common)
    answers = answer_network(encoder, asked[0].outcomes)
    set_weights(answers)
    answered = fit(answers, *asked, batch_size=60, by_length=True, **common)
    histories = {"pretrain": pretrained, "answers": answered}
    return {name: found.history.loc[1].tolist() for name, found in histories.items()}


if __name__ == "__main__":
    report(losses())
