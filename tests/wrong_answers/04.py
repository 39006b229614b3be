# ruff: noqa
# %% 04.1 nothing smoothed
# message: Nothing is smoothed
def markov_forecast(taught, asked, outcomes, smoothing):
    shares = pd.crosstab(taught["last"], taught["next"], normalize="index")
    return shares.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()


# %% 04.1 the shares the wrong way round
# message: The shares were taken the wrong way round
def markov_forecast(taught, asked, outcomes, smoothing):
    shares = pd.crosstab(taught["last"], taught["next"], normalize="columns")
    return shares.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()


# %% 04.1 add one
# message: leans on the uniform forecast
def markov_forecast(taught, asked, outcomes, smoothing):
    cells = pd.crosstab(taught["last"], taught["next"])
    cells = cells.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()
    return (cells + smoothing) / (cells + smoothing).sum(axis=1, keepdims=True)


# %% 04.1 a smoothing of one, whatever was asked
# message: use the argument `smoothing`
def markov_forecast(taught, asked, outcomes, smoothing):
    counts = taught["next"].value_counts().reindex(outcomes, fill_value=0).to_numpy()
    base = (counts + smoothing / len(outcomes)) / (counts.sum() + smoothing)
    cells = pd.crosstab(taught["last"], taught["next"])
    cells = cells.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()
    return (cells + base) / (cells.sum(axis=1, keepdims=True) + 1)


# %% 04.1 the base is not smoothed
# message: because training never saw it
def markov_forecast(taught, asked, outcomes, smoothing):
    base = taught["next"].value_counts(normalize=True).reindex(outcomes, fill_value=0).to_numpy()
    cells = pd.crosstab(taught["last"], taught["next"])
    cells = cells.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()
    return (cells + smoothing * base) / (cells.sum(axis=1, keepdims=True) + smoothing)


# %% 04.1 the last event is not looked at
# message: never looks at the last event
def markov_forecast(taught, asked, outcomes, smoothing):
    counts = taught["next"].value_counts().reindex(outcomes, fill_value=0).to_numpy()
    base = (counts + smoothing / len(outcomes)) / (counts.sum() + smoothing)
    return np.tile(base, (len(asked), 1))


# %% 04.1 no forecast for a new context
# message: its row holds no forecast
def markov_forecast(taught, asked, outcomes, smoothing):
    counts = taught["next"].value_counts().reindex(outcomes, fill_value=0).to_numpy()
    base = (counts + smoothing / len(outcomes)) / (counts.sum() + smoothing)
    cells = pd.crosstab(taught["last"], taught["next"]).reindex(columns=outcomes, fill_value=0)
    smoothed = (cells + smoothing * base).div(cells.sum(axis=1) + smoothing, axis=0)
    return smoothed.reindex(list(asked)).to_numpy()


# %% 04.2 the place in a sorted list
# message: when the items are listed in another order
def rank_of_target(scores, targets):
    order = np.argsort(-scores, axis=1, kind="stable")
    return (order == targets[:, None]).argmax(axis=1) + 1.0


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 ties are won
# message: The answer wins every tie
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1)


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 ties are lost
# message: The answer loses every tie
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return (scores >= own).sum(axis=1)


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 counted from 0
# message: The best rank is 0 here
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 the answer ties with itself
# message: counted as a tie with itself
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + (scores == own).sum(axis=1) / 2


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 the lowest score first
# message: The lowest score stands first
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores < own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float(np.where(ranks <= k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 log2 of the rank itself
# message: infinite or undefined
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    with np.errstate(divide="ignore"):
        return float(np.where(ranks <= k, 1 / np.log2(ranks), 0.0).mean())


# %% 04.2 the mean over the hits
# message: Only the questions with a hit are averaged
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float((1 / np.log2(1 + ranks[ranks <= k])).mean())


# %% 04.2 no end of the list
# message: below the list's end
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float((1 / np.log2(1 + ranks)).mean())


# %% 04.2 the last place left out
# message: still in it
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float(np.where(ranks < k, 1 / np.log2(1 + ranks), 0.0).mean())


# %% 04.2 the hit rate
# message: that is the hit rate
def rank_of_target(scores, targets):
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def ndcg(ranks, k):
    return float((ranks <= k).mean())


# %% 04.3 as shipped
# message: computed on the training rows


# %% 04.3 over all rows
# message: The share is over all rows
def share_right(moments, train, test):
    guess = moments["seen"].map(memory_of(moments[train]))
    return float((guess == moments["answer"]).mean())


# %% 04.3 all rows teach
# message: taught by all rows
def share_right(moments, train, test):
    part = moments[test]
    guess = part["seen"].map(memory_of(moments))
    return float((guess == part["answer"]).mean())


# %% 04.3 the test rows teach
# message: has only moved to the other part
def share_right(moments, train, test):
    part = moments[test]
    guess = part["seen"].map(memory_of(part))
    return float((guess == part["answer"]).mean())


# %% 04.3 parts changed places
# message: The two parts changed places
def share_right(moments, train, test):
    part = moments[train]
    guess = part["seen"].map(memory_of(moments[test]))
    return float((guess == part["answer"]).mean())


# %% 04.3 silent where it is hard
# message: silent at every hard question
def share_right(moments, train, test):
    part = moments[test]
    guess = part["seen"].map(memory_of(moments[train]))
    return float((guess == part["answer"])[guess.notna()].mean())


# %% 04.3 guesses beside themselves
# message: compared with themselves
def share_right(moments, train, test):
    part = moments[test]
    guess = part["seen"].map(memory_of(moments[train])).fillna(-1)
    truth = part["seen"].map(memory_of(moments[train])).fillna(-1)
    return float((guess == truth).mean())


# %% 04.4 as shipped
# message: Single rows are drawn


# %% 04.4 each session once
# message: `isin` keeps each row once
def interval_of(hits, sessions, resamples, seed):
    random = np.random.default_rng(seed)
    names = np.unique(sessions)
    means = []
    for _ in range(resamples):
        drawn = random.choice(names, len(names))
        means.append(hits[np.isin(sessions, drawn)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# %% 04.4 means of sessions
# message: means of sessions are averaged
def interval_of(hits, sessions, resamples, seed):
    random = np.random.default_rng(seed)
    of_session = pd.Series(hits).groupby(sessions).mean().to_numpy()
    means = [random.choice(of_session, len(of_session)).mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# %% 04.4 without replacement
# message: drawn without replacement
def interval_of(hits, sessions, resamples, seed):
    random = np.random.default_rng(seed)
    codes = np.unique(sessions, return_inverse=True)[1]
    sums, rows = np.bincount(codes, weights=hits), np.bincount(codes)
    means = []
    for _ in range(resamples):
        drawn = random.permutation(len(rows))
        means.append(sums[drawn].sum() / rows[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# %% 04.4 ninety percent
# message: which hold 90 % of the rounds
def interval_of(hits, sessions, resamples, seed):
    random = np.random.default_rng(seed)
    codes = np.unique(sessions, return_inverse=True)[1]
    sums, rows = np.bincount(codes, weights=hits), np.bincount(codes)
    means = []
    for _ in range(resamples):
        drawn = random.integers(0, len(rows), len(rows))
        means.append(sums[drawn].sum() / rows[drawn].sum())
    low, high = np.quantile(means, [0.05, 0.95])
    return float(low), float(high)


# %% 04.5 as shipped
# message: This is still accuracy


# %% 04.5 what is never guessed drops out
# message: drops out of the mean because it was never guessed
def macro_f1(labels, guesses, outcomes):
    scores = []
    for outcome in outcomes:
        happened, guessed = labels == outcome, guesses == outcome
        if guessed.any():
            right = (happened & guessed).sum()
            scores.append(2 * right / (happened.sum() + guessed.sum()))
    return float(np.mean(scores))


# %% 04.5 nothing divided by nothing
# message: is 0 / 0 and the score is no number
def macro_f1(labels, guesses, outcomes):
    scores = []
    for outcome in outcomes:
        happened, guessed = labels == outcome, guesses == outcome
        right = (happened & guessed).sum()
        with np.errstate(invalid="ignore"):
            precision, recall = right / guessed.sum(), right / happened.sum()
            scores.append(2 * precision * recall / (precision + recall))
    return float(np.mean(scores))


# %% 04.5 weighted by how often it happens
# message: the most frequent one decides again
def macro_f1(labels, guesses, outcomes):
    scores, weights = [], []
    for outcome in outcomes:
        happened, guessed = labels == outcome, guesses == outcome
        right = (happened & guessed).sum()
        scores.append(2 * right / max(1, happened.sum() + guessed.sum()))
        weights.append(happened.mean())
    return float(np.average(scores, weights=weights))


# %% 04.5 the F1 of the means
# message: the F1 of the mean precision and the mean recall
def macro_f1(labels, guesses, outcomes):
    precision, recall = [], []
    for outcome in outcomes:
        happened, guessed = labels == outcome, guesses == outcome
        right = (happened & guessed).sum()
        precision.append(right / max(1, guessed.sum()))
        recall.append(right / max(1, happened.sum()))
    p, r = np.mean(precision), np.mean(recall)
    return float(2 * p * r / (p + r))


# %% 04.5 only recall
# message: This is the mean recall
def macro_f1(labels, guesses, outcomes):
    shares = [(guesses[labels == one] == one).mean() for one in outcomes if one in labels]
    return float(np.mean(shares))


# %% 04.6 bestsellers for all
# message: Everybody gets the same list
def recommend(train, asked, questions, places):
    popular = train["item"].value_counts().index[:places].to_numpy()
    return np.tile(popular, (questions, 1))


# %% 04.6 the chain
# message: This is the chain itself
def recommend(train, asked, questions, places):
    return chain_baseline(train, asked, questions, places)


# %% 04.6 the first item twenty times
# message: suggested twice to one question
def recommend(train, asked, questions, places):
    return np.repeat(chain_baseline(train, asked, questions, 1), places, axis=1)


# %% 04.6 only what was seen
# message: Only what the shopper has just seen is suggested
def recommend(train, asked, questions, places):
    votes = asked.assign(answer=asked["item"], vote=1 / asked["back"])
    return first_places(votes, questions, places)


# %% 04.6 what came before, not after
# message: yours hold the answer to
def recommend(train, asked, questions, places):
    pairs = train.assign(answer=train.groupby("session")["item"].shift(1)).dropna()
    pairs = pairs.astype(int).groupby(["item", "answer"]).size().rename("vote").reset_index()
    votes = asked[asked["back"] == 1].merge(pairs, on="item")
    votes = pd.concat([votes, bestsellers(train, questions, places)])
    return first_places(votes, questions, places)
