# ruff: noqa
# %% 09.1 as shipped
# message: The item alone is masked

# %% 09.1 all but the gap
# message: still tells some of its fields
def hide(codes, chosen):
    shown = codes.copy()
    shown[chosen, :-1] = MASK
    return shown


# %% 09.1 padding instead of the mask
# message: became padding
def hide(codes, chosen):
    shown = codes.copy()
    shown[chosen] = PADDING
    return shown


# %% 09.1 everything hidden
# message: nothing is left to tell them from
def hide(codes, chosen):
    shown = codes.copy()
    shown[codes[..., 0] != PADDING] = MASK
    return shown


# %% 09.1 padding masked, too
# message: Padding is masked, too
def hide(codes, chosen):
    shown = codes.copy()
    shown[chosen | (codes[..., 0] == PADDING)] = MASK
    return shown


# %% 09.2 always the mask
# message: Every chosen event is shown as the mask
def mask_events(numbers, rate, random):
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    return np.where(chosen, MASK, numbers), chosen


# %% 09.2 padding chosen
# message: Padding is chosen or replaced
def mask_events(numbers, rate, random):
    chosen = random.random(numbers.shape) < rate
    fate = random.random(numbers.shape)
    shown = np.where(chosen & (fate < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    return np.where(chosen & (fate >= 0.8) & (fate < 0.9), others, shown), chosen


# %% 09.2 drawn from all numbers
# message: draw from those that occur
def mask_events(numbers, rate, random):
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(chosen & (fate < 0.8), MASK, numbers)
    others = random.integers(0, numbers.max() + 1, numbers.shape)
    return np.where(chosen & (fate >= 0.8) & (fate < 0.9), others, shown), chosen


# %% 09.2 those that stay are not asked
# message: are not said to be chosen
def mask_events(numbers, rate, random):
    picked = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(picked & (fate < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    shown = np.where(picked & (fate >= 0.8) & (fate < 0.9), others, shown)
    return shown, shown != numbers


# %% 09.2 upside down
# message: the rule upside down
def mask_events(numbers, rate, random):
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(chosen & (fate < 0.1), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    return np.where(chosen & (fate >= 0.1) & (fate < 0.2), others, shown), chosen


# %% 09.2 a seed of its own
# message: does not come from `random`
def mask_events(numbers, rate, random):
    random = np.random.default_rng(0)
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(chosen & (fate < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    return np.where(chosen & (fate >= 0.8) & (fate < 0.9), others, shown), chosen


# %% 09.2 nothing stays
# message: Nothing stays as it is
def mask_events(numbers, rate, random):
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(chosen & (fate < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    return np.where(chosen & (fate >= 0.8), others, shown), chosen


# %% 09.2 independent throws
# message: Two throws decide over the same event
def mask_events(numbers, rate, random):
    chosen = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    shown = np.where(chosen & (random.random(numbers.shape) < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    return np.where(chosen & (random.random(numbers.shape) < 0.1), others, shown), chosen


# %% 09.2 others are not asked
# message: Some events are replaced, but not said to be chosen
def mask_events(numbers, rate, random):
    picked = (random.random(numbers.shape) < rate) & (numbers != PADDING)
    fate = random.random(numbers.shape)
    shown = np.where(picked & (fate < 0.8), MASK, numbers)
    others = random.choice(numbers[numbers != PADDING], numbers.shape)
    swapped = picked & (fate >= 0.8) & (fate < 0.9)
    return np.where(swapped, others, shown), picked & ~swapped


# %% 09.3 as shipped
# message: All positions are scored

# %% 09.3 all real events
# message: they can be copied
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float((total - own)[codes != PADDING].mean())


# %% 09.3 upside down
# message: the loss is upside down
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float((total - own)[~chosen].mean())


# %% 09.3 divided by all
# message: but divided by all positions
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float(((total - own) * chosen).mean())


# %% 09.3 the sum
# message: This is the sum, not the mean
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float((total - own)[chosen].sum())


# %% 09.3 session by session
# message: The mean of each session is taken first
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    losses = total - own
    return float(np.mean([row[mask].mean() for row, mask in zip(losses, chosen)]))


# %% 09.3 the sign
# message: The sign is wrong
def masked_loss(scores, codes, chosen):
    highest = scores.max(axis=-1)
    total = highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1))
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    return float((own - total)[chosen].mean())


# %% 09.4 as shipped
# message: A hidden event counts as padding

# %% 09.4 inverted
# message: The mask is inverted
def events_there(codes):
    return (codes == PADDING).all(axis=-1)


# %% 09.4 the unknown has not happened
# message: Hidden and unknown events count as padding
def events_there(codes):
    return (codes > 2).any(axis=-1)


# %% 09.4 one unknown field
# message: An event with one unknown field
def events_there(codes):
    return (codes > 2).all(axis=-1)


# %% 09.4 everybody
# message: Padding counts as events
def events_there(codes):
    return np.ones(codes.shape[:2], bool)


# %% 09.5 in the last column
# message: The mask stands in the last column
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    for number, session in enumerate(sessions):
        kept = session[-(length - 1) :]
        inputs[number, : len(kept)] = kept
    inputs[:, -1] = MASK
    return inputs, np.full(len(sessions), length - 1)


# %% 09.5 instead of the last event
# message: The mask replaces the last event
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    positions = np.zeros(len(sessions), int)
    for number, session in enumerate(sessions):
        kept = session[-length:]
        inputs[number, : len(kept)] = kept
        inputs[number, len(kept) - 1] = MASK
        positions[number] = len(kept) - 1
    return inputs, positions


# %% 09.5 the oldest kept
# message: the first events are kept
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    positions = np.zeros(len(sessions), int)
    for number, session in enumerate(sessions):
        kept = session[: length - 1]
        inputs[number, : len(kept)] = kept
        inputs[number, len(kept)] = MASK
        positions[number] = len(kept)
    return inputs, positions


# %% 09.5 read at the last event
# message: read at the last event instead of at the mask
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    positions = np.zeros(len(sessions), int)
    for number, session in enumerate(sessions):
        kept = session[-(length - 1) :]
        inputs[number, : len(kept)] = kept
        inputs[number, len(kept)] = MASK
        positions[number] = len(kept) - 1
    return inputs, positions


# %% 09.5 answer read in the last column
# message: The answer is read in the last column
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    for number, session in enumerate(sessions):
        kept = session[-(length - 1) :]
        inputs[number, : len(kept)] = kept
        inputs[number, len(kept)] = MASK
    return inputs, np.full(len(sessions), length - 1)


# %% 09.5 padding on the left
# message: The padding stands on the left
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    for number, session in enumerate(sessions):
        kept = session[-(length - 1) :]
        inputs[number, -1 - len(kept) : -1] = kept
    inputs[:, -1] = MASK
    return inputs, np.full(len(sessions), length - 1)


# %% 09.5 no mask
# message: No mask is appended
def ask_next(sessions, length):
    inputs = np.full((len(sessions), length), PADDING)
    positions = np.zeros(len(sessions), int)
    for number, session in enumerate(sessions):
        kept = session[-(length - 1) :]
        inputs[number, : len(kept)] = kept
        positions[number] = len(kept) - 1
    return inputs, positions


# %% 09.6 the whole session
# message: they look ahead
def features(log):
    kinds = pd.get_dummies(log["event"]).astype(float)
    return kinds.groupby(log["session_id"].to_numpy()).transform("sum").to_numpy()


# %% 09.6 one number for all
# message: the same in every row
def features(log):
    return np.ones((len(log), 1))


# %% 09.6 the second of the minute
# message: hardly better than guessing
def features(log):
    return log["timestamp"].dt.second.to_numpy(float)[:, None]


# %% 09.6 one row a session
# message: and the log has
def features(log):
    kinds = pd.get_dummies(log["event"]).astype(float)
    return kinds.groupby(log["session_id"].to_numpy()).sum().to_numpy()


# %% 09.6 gaps
# message: some numbers are missing or infinite
def features(log):
    before = log.groupby("session_id")["timestamp"].shift()
    return (log["timestamp"] - before).dt.total_seconds().to_numpy()[:, None]
