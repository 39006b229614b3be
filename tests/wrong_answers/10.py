# ruff: noqa
# %% 10.1 as shipped
# message: the one that comes NEXT

# %% 10.1 the whole session
# message: all of the future stands in it
def tell(session, now, last):
    return ", ".join(f"{verb} {item}" for verb, item in session)


# %% 10.1 one event too few
# message: the newest visible event
def tell(session, now, last):
    return ", ".join(f"{verb} {item}" for verb, item in session[max(0, now - last) : now])


# %% 10.1 the oldest events
# message: keeps the OLDEST events
def tell(session, now, last):
    return ", ".join(f"{verb} {item}" for verb, item in session[: now + 1][:last])


# %% 10.1 last forgotten
# message: `last` is forgotten
def tell(session, now, last):
    return ", ".join(f"{verb} {item}" for verb, item in session[: now + 1])


# %% 10.2 as shipped
# message: The mask stands in the place of the segments

# %% 10.2 upside down
# message: The mask is upside down
def lay_out(tokens, length):
    ids = np.zeros((len(tokens), length), int)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": (ids == 0) * 1}


# %% 10.2 segments mended, mask not
# message: The mask is 1 everywhere
def lay_out(tokens, length):
    ids = np.zeros((len(tokens), length), int)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}


# %% 10.2 mask mended, segments not
# message: all belong to a second sentence
def lay_out(tokens, length):
    ids = np.zeros((len(tokens), length), int)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
    return {"token_ids": ids, "segment_ids": (ids > 0) * 1, "padding_mask": (ids > 0) * 1}


# %% 10.3 padding averaged
# message: All positions are averaged
def pool(states, padding_mask):
    return states.mean(axis=1)


# %% 10.3 divided by the length
# message: divided by ALL positions
def pool(states, padding_mask):
    return (states * padding_mask[:, :, None]).mean(axis=1)


# %% 10.3 the sum
# message: This is the sum, not the mean
def pool(states, padding_mask):
    return (states * padding_mask[:, :, None]).sum(axis=1)


# %% 10.3 the first token
# message: the first token's state alone
def pool(states, padding_mask):
    return states[:, 0]


# %% 10.3 multiplied with nan
# message: 0 times nan is nan
def pool(states, padding_mask):
    real = padding_mask[:, :, None]
    return (states * real).sum(axis=1) / np.maximum(real.sum(axis=1), 1)


# %% 10.3 no token to divide by
# message: divided by 0 tokens
def pool(states, padding_mask):
    real = np.asarray(padding_mask, bool)[:, :, None]
    with np.errstate(all="ignore"):
        return np.where(real, states, 0.0).sum(axis=1) / real.sum(axis=1)


# %% 10.4 as shipped
# message: The newest tokens are cut off, and [SEP] with them

# %% 10.4 the oldest kept
# message: the OLDEST tokens are kept
def fit_in(tokens, length):
    return [101, *tokens[: length - 2], 102]


# %% 10.4 cut after the special tokens
# message: special tokens come after the cut
def fit_in(tokens, length):
    return [101, *tokens, 102][-length:]


# %% 10.4 special tokens not counted
# message: The special tokens are not counted
def fit_in(tokens, length):
    return [101, *tokens[-length:], 102]


# %% 10.4 no room, all kept
# message: is the whole list, not nothing
def fit_in(tokens, length):
    return [101, *tokens[-(length - 2) :], 102]


# %% 10.5 as shipped
# message: The rate stands at its full height

# %% 10.5 no warm-up
# message: there is no warm-up
def rates(highest, warm, steps):
    return highest * (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 never falls
# message: It rises, but it never falls
def rates(highest, warm, steps):
    return highest * np.minimum(np.arange(steps) / max(warm, 1), 1)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 the fall counted from 0
# message: The fall is counted from step 0
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * step / steps)) / 2
    return highest * np.where(step < warm, step / max(warm, 1), falling)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 one step ahead
# message: The warm-up is one step ahead
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step < warm, (step + 1) / max(warm, 1), falling)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 the floor of the lesson
# message: The fall stops at a floor
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step < warm, step / max(warm, 1), 0.02 + 0.98 * falling)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 over too early
# message: over one step too early
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm - 1))) / 2
    return highest * np.where(step < warm, step / max(warm, 1), falling)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 divided by no warm-up
# message: the rise is divided by 0
def rates(highest, warm, steps):
    step = np.arange(steps)
    with np.errstate(all="ignore"):
        rising = step / np.full(steps, warm)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step <= warm, rising, falling)


def choose(histories):
    best = {rate: min(losses) for rate, losses in histories.items()}
    rate = min(best, key=best.get)
    return rate if best[rate] < histories[rate][0] else 0.0


# %% 10.5 judged by the last pass
# message: judges by the LAST pass
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step < warm, step / max(warm, 1), falling)


def choose(histories):
    return min(histories, key=lambda rate: histories[rate][-1])


# %% 10.5 judged by the first pass
# message: judges by the FIRST pass
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step < warm, step / max(warm, 1), falling)


def choose(histories):
    return min(histories, key=lambda rate: histories[rate][1])


# %% 10.5 the start is no candidate
# message: never leaves the network as it was
def rates(highest, warm, steps):
    step = np.arange(steps)
    falling = (1 + np.cos(np.pi * (step - warm) / (steps - warm))) / 2
    return highest * np.where(step < warm, step / max(warm, 1), falling)


def choose(histories):
    return min(histories, key=lambda rate: min(histories[rate]))


# %% 10.6 odds at once
# message: returns odds, not a function
def reader(texts, answers, outcomes):
    return np.full((len(texts), outcomes), 1 / outcomes)


# %% 10.6 frequencies
# message: Every text gets the same odds
def reader(texts, answers, outcomes):
    shares = np.bincount(answers, minlength=outcomes) + 1.0
    return lambda texts: np.tile(shares / shares.sum(), (len(texts), 1))


# %% 10.6 learnt by heart
# message: learnt its training texts by heart
def reader(texts, answers, outcomes):
    heart = dict(zip(texts, answers))

    def read(texts):
        odds = np.full((len(texts), outcomes), 0.01)
        odds[np.arange(len(texts)), [heart.get(text, 0) for text in texts]] = 1.0
        return odds / odds.sum(axis=1, keepdims=True)

    return read


# %% 10.6 scores
# message: do not: are they scores?
def reader(texts, answers, outcomes):
    return lambda texts: np.random.default_rng(1).normal(size=(len(texts), outcomes))


# %% 10.6 single words
# message: names of items outnumber what the visitor did
def reader(texts, answers, outcomes):
    words = TfidfVectorizer(min_df=3, token_pattern=r"\S+")
    model = make_pipeline(words, LogisticRegression(C=0.3, max_iter=500)).fit(texts, answers)

    def read(texts):
        odds = np.full((len(texts), outcomes), 1e-4)
        odds[:, model.classes_] += model.predict_proba(texts)
        return odds / odds.sum(axis=1, keepdims=True)

    return read
